package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/selvedge-mq/selvedge/cmd/selvedge/internal/testbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func broker(t *testing.T, opts testbroker.Options) *testbroker.Broker {
	t.Helper()
	b, err := testbroker.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// options are those of a small run against a broker.
func options(b *testbroker.Broker) Options {
	return Options{
		Protocol: STOMP, Servers: []string{b.Addr()}, Queue: "bench", Queues: 1,
		Producers: 1, Consumers: 1, Size: 64, Count: 1000, Persistent: true, Window: 100, Ack: AckEach, Credit: 100,
		Patience: 10 * time.Second, Linger: 20 * time.Millisecond,
	}
}

func run(t *testing.T, opts Options) *Report {
	t.Helper()
	b, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	r, err := b.Run(t.Context(), &progress)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at returns a fault for one message.
func at(n int, f testbroker.Fault) func(int) testbroker.Fault {
	return func(i int) testbroker.Fault {
		if i == n {
			return f
		}
		return testbroker.None
	}
}

func TestUndisturbedRuns(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"one of each":                         func(*Options) {},
		"each message acknowledged by others": func(o *Options) { o.Ack = AckBatch },
		"no acknowledgements":                 func(o *Options) { o.Ack = AckAuto },
		"no receipts":                         func(o *Options) { o.Window = 0 },
		"one unconfirmed message":             func(o *Options) { o.Window, o.Count = 1, 100 },
		"many producers, consumers, queues":   func(o *Options) { o.Producers, o.Consumers, o.Queues = 4, 6, 3 },
		"more queues than consumers":          func(o *Options) { o.Producers, o.Consumers, o.Queues = 2, 2, 5 },
		"more producers than messages":        func(o *Options) { o.Producers, o.Count = 4, 3 },
		"at a pace":                           func(o *Options) { o.Rate, o.Count = 2000, 200 },
		"with a smaller credit than messages": func(o *Options) { o.Credit = 1 },
		"with bodies that barely fit a stamp": func(o *Options) { o.Size = MinSize },
	} {
		t.Run(name, func(t *testing.T) {
			b := broker(t, testbroker.Options{})
			o := options(b)
			change(&o)
			r := run(t, o)
			if !r.OK() {
				t.Errorf("got failed checks %q, errors %q, want none", r.Failed, r.Errors)
			}
			if got, want := [2]uint64{r.Sent, r.Received}, [2]uint64{uint64(o.Count), uint64(o.Count)}; got != want {
				t.Errorf("got %d sent and received, want %d", got, want)
			}
			if o.Window > 0 && r.ConfirmLatency.Count != uint64(o.Count) {
				t.Errorf("got %d latencies of confirmations, want %d", r.ConfirmLatency.Count, o.Count)
			}
			if got := b.Depth("/queue/bench"); got != 0 {
				t.Errorf("got %d messages left, want 0", got)
			}
		})
	}
}

func TestWhatABrokerDoesWrongIsFound(t *testing.T) {
	type outcome struct {
		Failed                                                            []string
		Lost, Unmarked, Marked, Redelivered, OutOfOrder, Corrupted, Count uint64
	}
	for name, c := range map[string]struct {
		fault testbroker.Fault
		want  outcome
	}{
		"a lost message":             {testbroker.Lose, outcome{Failed: []string{"messages were lost"}, Lost: 1, Count: 999}},
		"a duplicate without a mark": {testbroker.Double, outcome{Failed: []string{"duplicates were not marked as redelivered"}, Unmarked: 1, Count: 1000}},
		"a marked duplicate is fine": {testbroker.DoubleMarked, outcome{Failed: []string{}, Marked: 1, Redelivered: 1, Count: 1000}},
		"a message out of order":     {testbroker.Swap, outcome{Failed: []string{"messages came out of order"}, OutOfOrder: 1, Count: 1000}},
		"a damaged body":             {testbroker.Damage, outcome{Failed: []string{"messages were lost", "bodies were damaged, or are none of a bench"}, Lost: 1, Corrupted: 1, Count: 999}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(broker(t, testbroker.Options{Fault: at(500, c.fault)}))
			o.Patience = 2 * time.Second // what is lost costs this time
			r := run(t, o)
			got := outcome{r.Failed, r.Lost, r.UnmarkedDuplicates, r.MarkedDuplicates, r.Redelivered, r.OutOfOrder, r.Corrupted, r.Received}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if r.Lost > 0 {
				if diff := cmp.Diff([]Message{{Producer: 0, Sequence: 500}}, r.LostExamples); diff != "" {
					t.Errorf("lost (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestABrokenConnectionFailsTheRun(t *testing.T) {
	o := options(broker(t, testbroker.Options{Fault: at(500, testbroker.Refuse)}))
	o.Servers[0] = "stomp://ann:secret@" + o.Servers[0]
	r := run(t, o)
	want := []string{"messages were never confirmed", "connections failed", "not all messages could be sent"}
	got := r.Failed
	if len(got) == 2 { // all 1000 were handed over before the error came
		want = want[:2]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failed checks (-want +got):\n%s", diff)
	}
	if len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "the broker says: refused") {
		t.Errorf("got the errors %q, want the broker's", r.Errors)
	}
	if strings.Contains(r.Errors[0], "secret") {
		t.Errorf("got the error %q, want one without the password", r.Errors[0])
	}
}

func TestReconnectSendsTheUnconfirmedAgain(t *testing.T) {
	o := options(broker(t, testbroker.Options{Fault: at(500, testbroker.Cut)}))
	o.Reconnect = true
	r := run(t, o)
	if !r.OK() {
		t.Errorf("got failed checks %q, errors %q, want none", r.Failed, r.Errors)
	}
	if r.Confirmed != 1000 || r.Received != 1000 || r.Reconnects != 1 {
		t.Errorf("got %d confirmed, %d received, %d reconnects, want 1000, 1000, 1", r.Confirmed, r.Received, r.Reconnects)
	}
	if r.ResentDuplicates == 0 {
		t.Error("got no duplicate of a message that was sent again, want at least the one that was stored")
	}
	if r.ConfirmGap.Milliseconds < 20 {
		t.Errorf("got a longest gap of %.2f ms, want at least the pause before the reconnect", r.ConfirmGap.Milliseconds)
	}
}

func TestConsumersAloneCheckWhatProducersLeft(t *testing.T) {
	b := broker(t, testbroker.Options{})
	o := options(b)
	o.Consumers, o.Producers = 0, 2
	if r := run(t, o); !r.OK() || r.Sent != 1000 {
		t.Fatalf("got %d sent, failed checks %q", r.Sent, r.Failed)
	}
	o.Consumers, o.Producers = 2, 0
	r := run(t, o)
	if !r.OK() || r.Received != 1000 {
		t.Errorf("got %d received, failed checks %q, want 1000 and none", r.Received, r.Failed)
	}
	o.Count, o.Patience = 5, 100*time.Millisecond
	if r := run(t, o); r.OK() {
		t.Error("got no failed check from an empty queue, want one")
	}
}

func TestMessagesOfAnotherRunAreForeign(t *testing.T) {
	b := broker(t, testbroker.Options{})
	o := options(b)
	o.Consumers, o.Count = 0, 10
	run(t, o)
	o.Consumers = 1
	r := run(t, o)
	if !r.OK() || r.Foreign != 10 || r.Received != 10 {
		t.Errorf("got %d received and %d foreign, failed checks %q, want 10, 10 and none", r.Received, r.Foreign, r.Failed)
	}
}

func TestDurationEndsTheSending(t *testing.T) {
	o := options(broker(t, testbroker.Options{}))
	o.Count, o.Duration = 0, 100*time.Millisecond
	r := run(t, o)
	if !r.OK() || r.Sent == 0 || r.Sent != r.Received {
		t.Errorf("got %d sent and %d received, failed checks %q", r.Sent, r.Received, r.Failed)
	}
}

func TestRunTellsWhyItCannotBegin(t *testing.T) {
	o := options(broker(t, testbroker.Options{Users: map[string]string{"ann": "secret"}}))
	o.User, o.Password = "ann", "wrong"
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Run(t.Context(), &bytes.Buffer{})
	if want := "connect to " + o.Servers[0] + ": the broker says: wrong login or passcode"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A run is cut short at its first message.
func TestACanceledRunReports(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(broker(t, testbroker.Options{Fault: func(int) testbroker.Fault {
		cancel()
		return testbroker.None
	}}))
	o.Count, o.Rate = 1_000_000, 100
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Run(ctx, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() {
		t.Error("got no failed check from a run that was cut short, want one")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"a topic":                    {func(o *Options) { o.Queue = "topic://a" }, "on a topic each consumer gets every message"},
		"a small size":               {func(o *Options) { o.Size = 10 }, "size: at least 46 bytes"},
		"fewer producers than none":  {func(o *Options) { o.Producers = -1 }, "producers, consumers: must not be negative"},
		"no end":                     {func(o *Options) { o.Count = 0 }, "count or duration"},
		"nobody":                     {func(o *Options) { o.Producers, o.Consumers = 0, 0 }, "at least one of either"},
		"an unknown protocol":        {func(o *Options) { o.Protocol = "mqtt" }, "want stomp or amqp"},
		"TLS that cannot be":         {func(o *Options) { o.TLS, o.Servers = true, []string{"ws://a"} }, "use wss://"},
		"reconnect without receipts": {func(o *Options) { o.Window, o.Reconnect = 0, true }, "needs receipts"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Protocol: STOMP, Queue: "q", Queues: 1, Producers: 1, Consumers: 1, Size: 64, Count: 1, Window: 1, Ack: AckEach, Credit: 1, Patience: time.Second}
			c.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
