package cluster

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

func TestParseAck(t *testing.T) {
	for _, c := range []struct {
		name string
		msg  nats.Msg
		seq  uint64
		err  error // errors.Is
		ok   bool
	}{
		{"stored", nats.Msg{Data: []byte(`{"stream":"S0","seq":7}`)}, 7, nil, true},
		{"another last sequence", nats.Msg{Data: []byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}`)}, 0, engine.ErrConflict, false},
		{"another last sequence, in other words", nats.Msg{Data: []byte(`{"error":{"code":400,"err_code":10164}}`)}, 0, engine.ErrConflict, false},
		{"nobody listens", nats.Msg{Header: nats.Header{"Status": {"503"}}}, 0, ErrNoLeader, false},
		{"another error", nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10077}}`)}, 0, nil, false},
		{"not an answer", nats.Msg{Data: []byte(`x`)}, 0, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq, err := parseAck(&c.msg)
			if seq != c.seq || c.ok != (err == nil) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %d, %v, want %d, %v", seq, err, c.seq, c.err)
			}
			if c.err == nil && errors.Is(err, engine.ErrConflict) {
				t.Errorf("got a conflict, want an unknown outcome")
			}
		})
	}
}

func FuzzParseAck(f *testing.F) {
	f.Add([]byte(`{"stream":"S0","seq":7}`))
	f.Add([]byte(`{"error":{"err_code":10071}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if seq, err := parseAck(&nats.Msg{Data: b}); err != nil && seq != 0 {
			t.Errorf("got sequence %d with error %v", seq, err)
		}
	})
}

// TestLog_AppendWhoseSubjectNobodyHears is answered at once, not by the timeout.
func TestLog_AppendWhoseSubjectNobodyHears(t *testing.T) {
	t.Parallel()
	n := openNode(t, testOptions(t))
	l := newShardLog(n.store, 99)
	done := make(chan error, 1)
	l.Append(0, nil, func(_ uint64, err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrNoLeader) {
		t.Errorf("got %v, want %v", err, ErrNoLeader)
	}
	l.Append(0, make([]byte, maxRecord+1), func(_ uint64, err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	if _, _, err := l.Bounds(t.Context()); err == nil {
		t.Error("got no error from a log that does not exist")
	}
}
