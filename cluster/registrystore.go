package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Names of the registry. They are those that JetStream's clients use for a bucket,
// so that their tools read it.
const (
	registryBucket = "selvedge"
	registryStream = "KV_" + registryBucket
	registryPrefix = "$KV." + registryBucket + "."
	// registrySubject is where is told that an entry was changed.
	registrySubject = "selvedge.registry"
)

// Bounds of the registry.
const (
	maxEntries = 1024    // as many as one read of all returns
	maxEntry   = 4 << 10 // bytes
)

// errNoRegistry says that the registry does not answer in a way that is understood.
var errNoRegistry = errors.New("cluster: the registry cannot be read")

// registryConfig describes the stream of the bucket: of each key the last value.
func registryConfig(replicas int) server.StreamConfig {
	return server.StreamConfig{
		Name:         registryStream,
		Subjects:     []string{registryPrefix + "*"},
		Storage:      server.FileStorage,
		Retention:    server.LimitsPolicy,
		Discard:      server.DiscardNew,
		Replicas:     replicas,
		MaxMsgs:      maxEntries,
		MaxBytes:     -1,
		MaxMsgsPer:   1,
		MaxMsgSize:   maxEntry,
		MaxConsumers: -1,
		AllowDirect:  true,
		AllowRollup:  true,
		DenyDelete:   true,
	}
}

// entry reads a node's entry from the leader of the bucket, once. Where there is
// none it has the revision 0.
func (s *store) entry(ctx context.Context, node string) (Entry, error) {
	body, err := encode(server.JSApiMsgGetRequest{LastFor: registryPrefix + node})
	if err != nil {
		return Entry{}, err
	}
	var resp server.JSApiMsgGetResponse
	err = s.try(ctx, "STREAM.MSG.GET."+registryStream, body, &resp, &resp.ApiResponse)
	switch {
	case apiError(err, server.JSNoMessageFoundErr):
		return Entry{Node: node}, nil
	case err != nil:
		return Entry{}, fmt.Errorf("cluster: read the registry: %w", err)
	case resp.Message == nil:
		return Entry{}, fmt.Errorf("%w: an answer without a message", errNoRegistry)
	}
	return decodeEntry(node, resp.Message.Sequence, resp.Message.Data)
}

// decodeEntry reads an entry. Its name is that of its key.
func decodeEntry(node string, revision uint64, b []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: entry of %s: %w", errNoRegistry, node, err)
	}
	e.Node, e.revision = node, revision
	return e, nil
}

// putEntry writes a node's entry if it still has the revision given, 0 for none, and
// returns its new one. errRevision means that it was not written; with any other error that
// is not known.
func (s *store) putEntry(ctx context.Context, node string, revision uint64, b []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	m := nats.NewMsg(registryPrefix + node)
	m.Data = b
	m.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(revision, 10))
	resp, err := s.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("cluster: write the registry: %w", err)
	}
	var ack server.JSPubAckResponse
	if err := json.Unmarshal(resp.Data, &ack); err != nil {
		return 0, fmt.Errorf("cluster: write the registry: decode answer: %w", err)
	}
	switch {
	case ack.Error == nil && ack.PubAck != nil:
		return ack.Sequence, nil
	case ack.Error == nil:
		return 0, fmt.Errorf("%w: an answer that confirms nothing", errNoRegistry)
	case apiError(ack.Error, server.JSStreamWrongLastSequenceErrF, server.JSStreamWrongLastSequenceConstantErr):
		return 0, errRevision
	}
	return 0, fmt.Errorf("cluster: write the registry: %w", ack.Error)
}

// entries reads all entries from any replica of the bucket, which may be behind.
func (s *store) entries(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	body, err := encode(server.JSApiMsgGetRequest{MultiLastFor: []string{registryPrefix + "*"}})
	if err != nil {
		return nil, err
	}
	sub, err := s.nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("cluster: read the registry: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := s.nc.PublishRequest(apiPrefix+"DIRECT.GET."+registryStream, sub.Subject, body); err != nil {
		return nil, fmt.Errorf("cluster: read the registry: %w", err)
	}
	var list []Entry
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("cluster: read the registry: %w", err)
		}
		switch status := m.Header.Get(statusHeader); {
		case status == statusEnd, status == statusNotFound && len(list) == 0:
			return list, nil
		case status != "":
			return nil, fmt.Errorf("%w: status %s", errNoRegistry, status)
		case len(list) == maxEntries:
			return nil, fmt.Errorf("%w: more than %d entries", errNoRegistry, maxEntries)
		}
		e, err := entryOf(m)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
}

// entryOf reads one entry out of an answer.
func entryOf(m *nats.Msg) (Entry, error) {
	subject := m.Header.Get(nats.JSSubject)
	if len(subject) <= len(registryPrefix) || subject[:len(registryPrefix)] != registryPrefix {
		return Entry{}, fmt.Errorf("%w: a record of %q", errNoRegistry, subject)
	}
	revision, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", errNoRegistry, err)
	}
	return decodeEntry(subject[len(registryPrefix):], revision, m.Data)
}

// apiError says whether the server answered with one of these errors.
func apiError(err error, codes ...server.ErrorIdentifier) bool {
	e, ok := errors.AsType[*server.ApiError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if e.ErrCode == uint16(c) {
			return true
		}
	}
	return false
}
