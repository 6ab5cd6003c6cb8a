package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/selvedge-mq/selvedge/internal/metrictest"
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

// FuzzParseAck answers an append with arbitrary bytes, then as the server does with
// that sequence and that error. Only the server's own words make an outcome known.
func FuzzParseAck(f *testing.F) {
	for _, answer := range []string{
		`{"stream":"S0","seq":7}`, `{"seq":8,"error":{"err_code":10071}}`, `{"seq":7,"error":null}`, `{"error":{}}`, `{"seq":-1}`,
		`{"error":{"code":400,"err_code":10164}}`, `{"error":{"code":503,"err_code":10023}}`, `{}`, `null`, `[]`, `7`, ``,
	} {
		f.Add("", []byte(answer), uint64(6), uint64(7), uint16(0))
		f.Add("503", []byte(answer), uint64(0), uint64(1), uint16(10071))
		f.Add("503 ", []byte(answer), uint64(math.MaxUint64), uint64(0), uint16(10047))
	}
	counts, err := newMetrics(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status string, data []byte, expect, seq uint64, code uint16) {
		m := &nats.Msg{Header: nats.Header{statusHeader: {status}}, Data: data}
		got, err := parseAck(m)
		says := func(n ...uint64) bool {
			return slices.ContainsFunc(n, func(n uint64) bool { return bytes.Contains(data, strconv.AppendUint(nil, n, 10)) })
		}
		switch {
		case status == statusNoReply:
			if got != 0 || !errors.Is(err, ErrNoLeader) {
				t.Errorf("status %q: got %d, %v, want %v", status, got, err, ErrNoLeader)
			}
		case err != nil && got != 0, err == nil && got != 0 && !says(got),
			errors.Is(err, engine.ErrConflict) && !says(10071, 10164), errors.Is(err, engine.ErrFull) && !says(10023, 10047):
			t.Errorf("%q: got %d, %v", data, got, err)
		}
		checkConfirmed(t, counts, m, expect, err == nil && got == expect+1)

		said := server.JSPubAckResponse{PubAck: &server.PubAck{Stream: "S0", Sequence: seq, Domain: status}}
		if code != 0 {
			said.Error = &server.ApiError{Code: 400, ErrCode: code, Description: status}
		}
		b, err := json.Marshal(said)
		if err != nil {
			t.Fatal(err)
		}
		m = &nats.Msg{Data: b}
		got, err = parseAck(m)
		if want := map[bool]uint64{true: seq}[code == 0]; got != want || (err == nil) != (code == 0) ||
			errors.Is(err, engine.ErrConflict) != (code == 10071 || code == 10164) ||
			errors.Is(err, engine.ErrFull) != (code == 10023 || code == 10047) {
			t.Errorf("%s: got %d, %v", b, got, err)
		}
		checkConfirmed(t, counts, m, expect, code == 0 && seq == expect+1)
	})
}

// checkConfirmed answers an append behind expect: once, and with its place in the log or
// an error, whatever else is answered.
func checkConfirmed(t *testing.T, counts *metrics, m *nats.Msg, expect uint64, want bool) {
	t.Helper()
	a := &appender{prefix: "answers.", metrics: counts, pending: make(map[uint64]*pendingAppend)}
	ends := 0
	p := &pendingAppend{id: 35, log: &shardLog{}, expect: expect, timer: time.AfterFunc(time.Hour, func() {}), done: func(seq uint64, err error) {
		if ends++; want != (err == nil) || want && seq != expect+1 || !want && seq != 0 {
			t.Errorf("%q behind %d: got %d, %v, want it confirmed: %v", m.Data, expect, seq, err, want)
		}
	}}
	a.pending[p.id] = p
	for _, subject := range []string{"answers.y", "answers.", "answers.zz", "answers.z", "answers.z"} {
		m.Subject = subject
		a.answer(m)
	}
	if ends != 1 || len(a.pending) > 0 {
		t.Errorf("got %d ends of an append, %d under way, want 1 and 0", ends, len(a.pending))
	}
}

// A refusal for lack of room was counted as an outcome that is unknown: an alert about
// slow disks could not be told from one about full ones.
func TestAppender_CountsAppendsByOutcome(t *testing.T) {
	r := prometheus.NewRegistry()
	counts, err := newMetrics(r, &Node{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for _, c := range []struct{ outcome, answer string }{
		{"committed", `{"seq":7}`},
		{"conflict", `{"error":{"err_code":10071}}`},
		{"full", `{"error":{"err_code":10023}}`},
		{"full", `{"error":{"err_code":10047}}`},
		{"unknown", `{"error":{"err_code":10077}}`},
	} {
		want[c.outcome]++
		checkConfirmed(t, counts, &nats.Msg{Data: []byte(c.answer)}, 6, c.outcome == "committed")
		if got := metrictest.Value(t, r, "selvedge_log_appends_total", c.outcome); got != want[c.outcome] {
			t.Errorf("%s: got %v appends that are %s, want %v", c.answer, got, c.outcome, want[c.outcome])
		}
	}
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
