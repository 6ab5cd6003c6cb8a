package frames

import (
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

func sampleTransfer() *Transfer {
	return &Transfer{
		Handle: 3, DeliveryID: wire.Some(uint32(70000)), DeliveryTag: []byte("12345678"),
		MessageFormat: wire.Some(uint32(0)), Settled: wire.Some(false),
	}
}

func sampleBodies() map[string][]byte {
	u := wire.Some[uint32]
	return map[string][]byte{
		"transfer":    append(sampleTransfer().Append(nil), "payload"...),
		"transaction": (&Transfer{State: State{Kind: StateTransactional, TxnID: []byte{1}, Outcome: StateAccepted}}).Append(nil),
		"disposition": (&Disposition{Role: RoleReceiver, First: 70000, Last: 70010, Settled: true, State: State{Kind: StateAccepted}}).Append(nil),
		"modified":    (&Disposition{First: 1, Last: 1, State: State{Kind: StateModified, DeliveryFailed: true}}).Append(nil),
		"flow":        (&Flow{NextIncomingID: u(1), Handle: u(0), DeliveryCount: u(1), LinkCredit: u(100)}).Append(nil),
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	var d Decoder
	buf := make([]byte, 0, 512)
	for name, body := range sampleBodies() {
		t.Run("decoding and appending: "+name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, func() {
				p, _, err := d.Decode(TypeAMQP, body)
				if err != nil {
					t.Fatal(err)
				}
				buf = AppendFrame(buf[:0], 1, p)
			}); got != 0 {
				t.Errorf("got %v allocations, want 0", got)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"transfer", "disposition", "flow"} {
		body := sampleBodies()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var d Decoder
			for b.Loop() {
				if _, _, err := d.Decode(TypeAMQP, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendTransfer(b *testing.B) {
	b.ReportAllocs()
	t := sampleTransfer()
	buf := make([]byte, 0, 512)
	for b.Loop() {
		buf = AppendTransfer(buf[:0], 1, t, 1000)
	}
}

func BenchmarkAppendDisposition(b *testing.B) {
	b.ReportAllocs()
	d := &Disposition{Role: RoleReceiver, First: 70000, Last: 70010, Settled: true, State: State{Kind: StateAccepted}}
	buf := make([]byte, 0, 512)
	for b.Loop() {
		buf = AppendFrame(buf[:0], 1, d)
	}
}
