package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// ErrServer is the kind of failures that end the embedded server.
var ErrServer = errors.New("cluster: the embedded server failed")

// ErrStorage is the kind of failures after which the embedded server writes no
// more, though it goes on: a disk that is full, or one that fails.
var ErrStorage = errors.New("cluster: the logs cannot be written")

// serverLog passes the embedded server's log on. Its notices are the details of
// its own life, so they are debug here; what an operator must know is told by
// the node itself.
type serverLog struct {
	log     zerolog.Logger
	metrics *metrics

	// refused says that another node refuses this one.
	refused atomic.Bool

	// doubts are lines that tell of damage which the server met in a file.
	doubts chan string

	// brakes are by the messages that are braked.
	brakes map[string]*brake

	mu     sync.Mutex
	judged map[string]bool // remotes that routeAuth has refused, until the server says so too
	fatal  error
	failed chan struct{} // closed with the first failure
}

func newServerLog(log zerolog.Logger, m *metrics) *serverLog {
	return &serverLog{
		log: log.With().Str("part", "fabric").Logger(), metrics: m, failed: make(chan struct{}), doubts: make(chan string, mostDoubts),
		judged: make(map[string]bool),
		brakes: map[string]*brake{msgRefused: {}, msgStranger: {}, msgTLSDiffers: {}, msgNoTLS: {}, msgServer: {}},
	}
}

// Noticef passes a notice on.
func (l *serverLog) Noticef(format string, v ...any) { l.write(zerolog.DebugLevel, format, v) }

// Warnf passes a warning on, and keeps one that tells of damage.
func (l *serverLog) Warnf(format string, v ...any) {
	l.write(zerolog.WarnLevel, format, v)
	text := fmt.Sprintf(format, v...)
	if slices.ContainsFunc(damageWarnings, func(part string) bool { return strings.Contains(text, part) }) {
		select {
		case l.doubts <- text:
		default: // there are more than anybody looks after
		}
	}
}

// mostDoubts is how many doubts wait for somebody to look after them.
const mostDoubts = 16

// damageWarnings are the texts of warnings that a block of records is damaged. The
// server goes on without those records.
var damageWarnings = []string{
	"malformed or corrupt message",
	"indexCacheBuf corrupt",
	"loadBlock error",
}

// refusedError is the text of an error that says that another node refuses this one.
const refusedError = "Authorization Violation"

// writeErrors are the texts of errors after which the server writes a log, or all
// of them, no more. It keeps them to itself otherwise: it does not end, and leaves
// the appends unanswered.
var writeErrors = []string{
	"Critical write error", // of a store, or of a raft group
	"critical write error", // of a stream
	"will be DISABLED",     // out of space
	"disabling JetStream",  // not permitted
}

// Errorf passes an error on, and keeps one that ends the writing.
func (l *serverLog) Errorf(format string, v ...any) {
	l.write(zerolog.ErrorLevel, format, v)
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, refusedError) {
		l.refused.Store(true)
	}
	if slices.ContainsFunc(writeErrors, func(part string) bool { return strings.Contains(text, part) }) {
		l.fail(fmt.Errorf("%w: %s", ErrStorage, text))
	}
}

// Debugf passes a detail on.
func (l *serverLog) Debugf(format string, v ...any) { l.write(zerolog.TraceLevel, format, v) }

// Tracef drops protocol traces: they hold the secrets of connections.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf keeps the message: the server does not run any more.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.write(zerolog.ErrorLevel, format, v)
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "router port") { // the one for other nodes
		text += " (choose another address by cluster)"
	}
	l.fail(fmt.Errorf("%w: %s", ErrServer, text))
}

// fail keeps the first failure.
func (l *serverLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = err
		close(l.failed)
	}
}

// err returns the first failure.
func (l *serverLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// rule says what becomes of a message that contains a text.
type rule struct {
	text  string
	level zerolog.Level
	msg   string // instead of the server's own, if not empty
}

// What the log says of other ends that do not get in, or do not let this node in: now and
// then of each host, with the number of the lines that were left out.
const (
	msgRefused    = "refused by another node: its cluster name or secret differs from ours"
	msgStranger   = "closed a connection between nodes: the other end is no node of Selvedge; clients have ports of their own"
	msgTLSDiffers = "closed a connection between nodes: the other end does not speak TLS, as cluster-tls-cert has it here"
	msgNoTLS      = "no tls with a node"
	msgServer     = "server"
)

// rules are tried in order. Routes that cannot be connected yet are normal while
// nodes start and stop; refusals must be seen on both sides.
var rules = []rule{
	{refusedError, zerolog.WarnLevel, msgRefused},
	{"first record does not look like a TLS handshake", zerolog.WarnLevel, msgTLSDiffers},
	{"duplicate name", zerolog.ErrorLevel, "another node has this node's name: give each a name of its own"},
	{"cluster name", zerolog.WarnLevel, "refused a node: its cluster name differs from ours"},
	{"Error trying to connect to route", zerolog.DebugLevel, ""},
	{"handshake error: EOF", zerolog.DebugLevel, ""}, // of a node that looked whether anybody is there
	{"TLS route handshake error", zerolog.WarnLevel, msgNoTLS},
	{"i/o timeout", zerolog.DebugLevel, ""},
	{"connection reset by peer", zerolog.DebugLevel, ""},
	{"connection refused", zerolog.DebugLevel, ""},
	{"broken pipe", zerolog.DebugLevel, ""},
	{"Waiting for routing to be established", zerolog.DebugLevel, ""},
	{"has not established contact with a meta leader", zerolog.DebugLevel, ""},
	{"Metalayer", zerolog.DebugLevel, ""},
	{"could not replace peer", zerolog.DebugLevel, ""}, // of a node that is retired: place counts the replicas anew
	{"is not current", zerolog.DebugLevel, ""},
	{"resetting first sequence", zerolog.DebugLevel, ""},
	{"Plaintext passwords", zerolog.DebugLevel, ""},
	{"Self monitoring", zerolog.DebugLevel, ""},
	{"has NO quorum", zerolog.WarnLevel, "no quorum: part of the cluster cannot be reached"},
	{"JetStream cluster no metadata leader", zerolog.WarnLevel, "the cluster has no leader"},
	{"Critical write error", zerolog.ErrorLevel, ""},
	{"RAFT", zerolog.DebugLevel, ""},
	{"Slow Consumer", zerolog.WarnLevel, ""},
}

// write logs a message at the level that its text deserves.
func (l *serverLog) write(level zerolog.Level, format string, v []any) {
	if level < zerolog.WarnLevel && l.log.GetLevel() > level {
		return // not formatted
	}
	text := fmt.Sprintf(format, v...)
	msg := ""
	if level >= zerolog.WarnLevel {
		level, msg = l.wordsFor(text, level)
	}
	if msg == "" {
		msg = msgServer
	}
	if remote, ok := remoteOf(text); ok && level >= zerolog.WarnLevel {
		l.ofConnection(level, remote, text, msg)
		return
	}
	l.log.WithLevel(level).Str("text", text).Msg(msg)
}

// ofConnection logs a message about a connection with another node, once a second at
// most of each host: whoever reaches the port has the server write one for each try.
func (l *serverLog) ofConnection(level zerolog.Level, remote, text, msg string) {
	l.metrics.routeErrors.Inc()
	suppressed := 0
	if b := l.brakes[msg]; b != nil {
		var tell bool
		if suppressed, tell = b.tells(remote, time.Now()); !tell {
			return
		}
	}
	l.log.WithLevel(level).Str("remote", remote).Int("suppressed", suppressed).Str("text", text).Msg(msg)
}

// strangerErrors are what the embedded server says of octets on a route that no node sends.
var strangerErrors = []string{
	"parser ERROR",
	notAdmitted,
	"looking for beginning of", // of what stands behind CONNECT, which STOMP has too
	"attempted to connect to route port",
}

// notAdmitted is what the embedded server says of a connection whose other end showed
// nothing before it spoke, or was refused by routeAuth, which has told the reason.
const notAdmitted = "authentication error"

// mostJudged bounds the refusals that the embedded server has not told yet: it does so at once.
const mostJudged = 1024

// judge notes that routeAuth has refused a remote and told why.
func (l *serverLog) judge(remote string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.judged) < mostJudged {
		l.judged[remote] = true
	}
}

// isJudged says whether a remote was refused, and forgets it.
func (l *serverLog) isJudged(remote string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	judged := l.judged[remote]
	delete(l.judged, remote)
	return judged
}

// wordsFor returns at which level a warning or error is logged, and in which words, none if
// the server's own will do.
func (l *serverLog) wordsFor(text string, level zerolog.Level) (zerolog.Level, string) {
	remote, route := remoteOf(text)
	switch {
	case strings.Contains(text, notAdmitted) && (!route || l.isJudged(remote)):
		return zerolog.DebugLevel, ""
	case route && slices.ContainsFunc(strangerErrors, func(part string) bool { return strings.Contains(text, part) }):
		return min(level, zerolog.WarnLevel), msgStranger
	}
	for _, r := range rules {
		if strings.Contains(text, r.text) {
			return min(level, r.level), r.msg
		}
	}
	return level, ""
}

// remoteOf returns the address that a line of the embedded server's log about a
// connection with another node begins with.
func remoteOf(text string) (remote string, ok bool) {
	remote, _, ok = strings.Cut(text, " - rid:")
	return remote, ok
}
