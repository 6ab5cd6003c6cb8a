package stomp

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

const supportedVersions = "1.0,1.1,1.2"

// maxVersionText bounds what an ERROR repeats of accept-version, in octets.
const maxVersionText = 256

// Mechanisms: a login, and without one nobody, or who the certificate says.
const (
	plain     = "PLAIN"
	anonymous = "ANONYMOUS"
	external  = "EXTERNAL"
)

// login is that of a client.
type login struct {
	protocols.Credentials

	literal bool // it stood elsewhere than in CONNECT: nobody has written escapes
}

// connectAnswer is what CONNECTED repeats of CONNECT, unescaped.
type connectAnswer struct {
	requestID, receipt string
}

// connect negotiates the version and the heart-beats and starts the login.
// [STOMP 1.2 CONNECT or STOMP Frame]
func (m *machine) connect(f *frame.Frame) error {
	accept, listed := f.Get("accept-version")
	version, ok := negotiate(string(accept), listed)
	if !ok {
		return m.fe.dialect.noVersion(string(accept))
	}
	get := func(key string) (string, bool) {
		v, ok := f.Get(key)
		if version == frame.V10 {
			v = bytes.TrimSpace(v) // [STOMP 1.0] pads values
		}
		return string(v), ok
	}
	if err := m.fe.dialect.host(get("host")); err != nil {
		return err
	}
	if _, named := get("host"); !named && m.fe.dialect.strict && version != frame.V10 {
		return invalid("CONNECT without the header host")
	}
	if version != frame.V10 {
		beat, _ := get("heart-beat")
		if err := m.beats.negotiate(beat); err != nil {
			return err
		}
	}
	m.version = version
	m.clientID, _ = get("client-id")
	m.connected.requestID, _ = get("request-id")
	m.connected.receipt, _ = get("receipt")
	l := login{Credentials: protocols.Credentials{Mechanism: anonymous}}
	if user, ok := get("login"); ok && user != "" {
		password, _ := get("passcode")
		l.Credentials = protocols.Credentials{Mechanism: plain, User: user, Password: password}
	} else if c := m.carried; c.User != "" {
		l = login{protocols.Credentials{Mechanism: plain, User: c.User, Password: c.Password}, true}
	}
	m.carried = protocols.Login{}
	m.user = l.User
	m.state = stateLogin
	m.login(l, routing.SessionOptions{ClientID: m.clientID, Remote: m.remote, Protocol: "stomp"})
	return nil
}

// authenticate checks a login. CONNECT has no escapes, but some clients write
// some, and ActiveMQ and RabbitMQ decode them: a login that is wrong as it stands
// may be right decoded. [STOMP 1.2 Value Encoding]
func (c *conn) authenticate(ctx context.Context, l login) (routing.Principal, error) {
	cr := l.Credentials
	principal, err := c.fe.env.Auth.Authenticate(ctx, cr)
	if routing.CodeOf(err) != routing.CodeUnauthorized || c.fe.dialect.strict || l.literal {
		return principal, err
	}
	user, err1 := frame.Unescape([]byte(cr.User))
	password, err2 := frame.Unescape([]byte(cr.Password))
	if err1 != nil || err2 != nil || string(user) == cr.User && string(password) == cr.Password {
		return principal, err
	}
	cr.User, cr.Password = string(user), string(password)
	return c.fe.env.Auth.Authenticate(ctx, cr)
}

// negotiate returns the highest common version; no list means 1.0.
func negotiate(accept string, listed bool) (frame.Version, bool) {
	if !listed {
		return frame.V10, true
	}
	best, found := frame.V10, false
	for v := range strings.SplitSeq(accept, ",") {
		for _, ours := range []frame.Version{frame.V10, frame.V11, frame.V12} {
			if strings.TrimSpace(v) == ours.String() {
				best, found = max(best, ours), true
			}
		}
	}
	return best, found
}

// loggedIn ends the login: with CONNECTED, or with ERROR. The user may be that of
// a certificate; nobody has an empty name.
func (m *machine) loggedIn(session routing.Session, user string, err error) {
	if m.state != stateLogin {
		if session != nil {
			session.Close()
		}
		return
	}
	if err != nil {
		m.fail(m.refused(err), m.connected.receipt, m.connected.receipt != "")
		return
	}
	m.session = session
	m.state = stateOpen
	if user != "" {
		m.user = user
	}
	m.debug().Stringer("version", m.version).Dur("beats_in", m.beats.in).Dur("beats_out", m.beats.out).Msg("connection opened")
	dst := frame.AppendCommand(m.out, frame.Connected)
	dst = frame.AppendRaw(dst, "version", m.version.String())
	dst = frame.AppendRaw(dst, "session", m.sessionID)
	dst = frame.AppendRaw(dst, "server", m.fe.serverName())
	if m.version != frame.V10 {
		dst = m.beats.appendOffer(dst)
	}
	id := m.connected.requestID
	if id == "" {
		id = m.connected.receipt
	}
	if id != "" && m.fe.dialect.connectReceipt {
		dst = frame.AppendRaw(dst, "response-id", id)
		dst = frame.AppendRaw(dst, "receipt-id", id)
	}
	m.out = frame.AppendBody(dst, "")
}

// refused words a refused login as the dialect's broker does, because tools look
// for it; the reason stands in the body.
func (m *machine) refused(err error) error {
	w := *m.wire(err)
	w.title, w.body = titleLogin, ""
	if w.code != routing.CodeUnauthorized {
		return &w
	}
	w.detail = cmp.Or(w.detail, w.message)
	w.body = "Access refused for user '" + m.user + "'\n"
	if words := m.fe.dialect.refused; words != "" && m.user != "" {
		w.message = strings.ReplaceAll(words, "%", m.user)
	}
	return &w
}

// noVersion says that there is no common version, in the words of the dialect's
// broker. [STOMP 1.2 Protocol Negotiation]
func (b *behavior) noVersion(asked string) error {
	w := &wireError{
		code: routing.CodeNotSupported, message: strings.ReplaceAll(b.wrongVersion[0], "%", plainText(asked)), detail: b.wrongVersion[1],
		header: "version", value: supportedVersions,
	}
	if len(w.message) > maxVersionText {
		w.message = w.message[:maxVersionText]
	}
	return w
}

// host refuses a virtual host that the dialect's broker would not have.
func (b *behavior) host(name string, named bool) error {
	if !named || b.admitsHost(name) {
		return nil
	}
	return &wireError{
		code: routing.CodeUnauthorized, message: titleLogin, detail: "Virtual host '" + name + "' access denied",
	}
}

// serverName returns the value of the server header: the product, and behind it
// the broker whose clients are served, because some clients choose their manners
// by that name. [STOMP 1.2 CONNECTED]
func (f *Frontend) serverName() string {
	if f.dialect.server != "" {
		return plainText(f.dialect.server)
	}
	name := "Selvedge"
	if f.env.Version != "" {
		name += "/" + strings.ReplaceAll(f.env.Version, " ", "-")
	}
	if f.dialect.suffix != "" {
		name += " " + f.dialect.suffix
	}
	return plainText(name)
}

// plainText replaces what old clients could take for an escape, a second colon or
// the end of the line.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == ':' || r == '\\' || r >= 0x7f {
			return '-'
		}
		return r
	}, s)
}
