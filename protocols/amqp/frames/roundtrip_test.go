package frames

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire/golden"
)

func opt[T any](t *rapid.T, g *rapid.Generator[T]) wire.Optional[T] {
	if !rapid.Bool().Draw(t, "set") {
		return wire.Optional[T]{}
	}
	return wire.Some(g.Draw(t, "value"))
}

func oneOf[T any](t *rapid.T, v ...T) T { return rapid.SampledFrom(v).Draw(t, "one") }

func flag(t *rapid.T) bool { return rapid.Bool().Draw(t, "flag") }

func number(t *rapid.T) uint32 { return rapid.Uint32().Draw(t, "number") }

func text(t *rapid.T) string { return rapid.String().Draw(t, "text") }

func blob(t *rapid.T) []byte {
	if !flag(t) {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "blob")
}

func symbols(t *rapid.T) []wire.Symbol {
	if !flag(t) {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom([]wire.Symbol{"", "queue", "topic", "amqp:accepted:list"}), 0, 4).Draw(t, "symbols")
}

func fields(t *rapid.T) wire.Map {
	if !flag(t) {
		return nil
	}
	m := wire.Map{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		v := oneOf[any](t, nil, true, uint32(7), "text", []byte{1, 2}, wire.List{int64(1)}, wire.Described{Descriptor: uint64(43), Value: wire.List{}})
		m = append(m, wire.Entry{Key: wire.Symbol(oneOf(t, "a", "x-opt-b")), Value: v})
	}
	return m
}

func failure(t *rapid.T) *Error {
	if !flag(t) {
		return nil
	}
	return &Error{Condition: oneOf(t, NotFound, ConnectionForced, TransactionRollback), Description: text(t), Info: fields(t)}
}

func state(t *rapid.T) State {
	s := State{Kind: StateKind(rapid.IntRange(0, int(StateTransactional)).Draw(t, "state"))}
	switch s.Kind {
	case StateReceived:
		s.SectionNumber, s.SectionOffset = number(t), rapid.Uint64().Draw(t, "offset")
	case StateDeclared, StateTransactional:
		s.TxnID = append([]byte{}, blob(t)...)
	default:
	}
	if s.Kind == StateTransactional {
		s.Outcome = oneOf(t, StateNone, StateAccepted, StateRejected, StateReleased, StateModified)
	}
	switch s.Result() {
	case StateRejected:
		s.Error = failure(t)
	case StateModified:
		s.DeliveryFailed, s.UndeliverableHere, s.Annotations = flag(t), flag(t), fields(t)
	default:
	}
	return s
}

func source(t *rapid.T) *Source {
	if !flag(t) {
		return nil
	}
	return &Source{
		Address: opt(t, rapid.String()), Durable: oneOf(t, DurableNone, DurableConfiguration, DurableUnsettled),
		ExpiryPolicy: oneOf(t, "", ExpireNever, ExpireSessionEnd), Timeout: number(t), Dynamic: flag(t),
		DynamicProperties: fields(t), DistributionMode: oneOf(t, "", DistributionMove, DistributionCopy),
		Filter: fields(t), DefaultOutcome: state(t), Outcomes: symbols(t), Capabilities: symbols(t),
	}
}

func attach(t *rapid.T) *Attach {
	a := &Attach{
		Name: text(t), Handle: number(t), Role: Role(flag(t)),
		SndSettleMode: opt(t, rapid.SampledFrom([]SenderSettleMode{SenderUnsettled, SenderSettled, SenderMixed})),
		RcvSettleMode: opt(t, rapid.SampledFrom([]ReceiverSettleMode{ReceiverFirst, ReceiverSecond})),
		Source:        source(t), Unsettled: fields(t), IncompleteUnsettled: flag(t),
		InitialDeliveryCount: opt(t, rapid.Uint32()), MaxMessageSize: rapid.Uint64().Draw(t, "size"),
		OfferedCapabilities: symbols(t), DesiredCapabilities: symbols(t), Properties: fields(t),
	}
	switch rapid.IntRange(0, 2).Draw(t, "target") {
	case 0:
		a.Coordinator = &Coordinator{Capabilities: symbols(t)}
	case 1:
		a.Target = &Target{
			Address: opt(t, rapid.String()), Durable: oneOf(t, DurableNone, DurableUnsettled),
			ExpiryPolicy: oneOf(t, "", ExpireNever), Timeout: number(t), Dynamic: flag(t),
			DynamicProperties: fields(t), Capabilities: symbols(t),
		}
	}
	return a
}

// anyPerformative draws each of the performatives.
func anyPerformative(t *rapid.T) Performative {
	draw := []func() Performative{
		func() Performative {
			return &Open{
				ContainerID: text(t), Hostname: text(t), MaxFrameSize: number(t), ChannelMax: rapid.Uint16().Draw(t, "max"),
				IdleTimeout: number(t), OutgoingLocales: symbols(t), IncomingLocales: symbols(t),
				OfferedCapabilities: symbols(t), DesiredCapabilities: symbols(t), Properties: fields(t),
			}
		},
		func() Performative {
			return &Begin{
				RemoteChannel: opt(t, rapid.Uint16()), NextOutgoingID: number(t), IncomingWindow: number(t), OutgoingWindow: number(t),
				HandleMax: number(t), OfferedCapabilities: symbols(t), DesiredCapabilities: symbols(t), Properties: fields(t),
			}
		},
		func() Performative { return attach(t) },
		func() Performative {
			u := rapid.Uint32()
			return &Flow{
				NextIncomingID: opt(t, u), IncomingWindow: number(t), NextOutgoingID: number(t), OutgoingWindow: number(t), Handle: opt(t, u),
				DeliveryCount: opt(t, u), LinkCredit: opt(t, u), Available: opt(t, u), Drain: flag(t), Echo: flag(t), Properties: fields(t),
			}
		},
		func() Performative {
			return &Transfer{
				Handle: number(t), DeliveryID: opt(t, rapid.Uint32()), DeliveryTag: blob(t), MessageFormat: opt(t, rapid.Uint32()),
				Settled: opt(t, rapid.Bool()), More: flag(t),
				RcvSettleMode: opt(t, rapid.SampledFrom([]ReceiverSettleMode{ReceiverFirst, ReceiverSecond})),
				State:         state(t), Resume: flag(t), Aborted: flag(t), Batchable: flag(t),
			}
		},
		func() Performative {
			return &Disposition{Role: Role(flag(t)), First: number(t), Last: number(t), Settled: flag(t), State: state(t), Batchable: flag(t)}
		},
		func() Performative { return &Detach{Handle: number(t), Closed: flag(t), Error: failure(t)} },
		func() Performative { return &End{Error: failure(t)} },
		func() Performative { return &Close{Error: failure(t)} },
		func() Performative { return &SASLMechanisms{Mechanisms: append([]wire.Symbol{}, symbols(t)...)} },
		func() Performative {
			return &SASLInit{Mechanism: oneOf(t, wire.Symbol("PLAIN"), ""), InitialResponse: blob(t), Hostname: text(t)}
		},
		func() Performative { return &SASLChallenge{Challenge: append([]byte{}, blob(t)...)} },
		func() Performative { return &SASLResponse{Response: append([]byte{}, blob(t)...)} },
		func() Performative {
			return &SASLOutcome{Outcome: oneOf(t, SASLOK, SASLSystemTrans), AdditionalData: blob(t)}
		},
	}
	return oneOf(t, draw...)()
}

// [221] Errors among them.
func TestEveryPerformativeComesBackFromItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyPerformative(t)
		h := Header{Type: performatives[want.Code()].typ, Channel: rapid.Uint16().Draw(t, "channel")}
		if h.Type == TypeSASL {
			h.Channel = 0
		}
		var payload []byte
		if want.Code() == CodeTransfer {
			payload = rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		}
		b := appendFrame(h, want, payload)
		got, p, rest, err := decodeFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if int(got.Size) != len(b) || got.Channel != h.Channel || string(rest) != string(payload) {
			t.Fatalf("got %d bytes on channel %d with %x, want %d on %d with %x", got.Size, got.Channel, rest, len(b), h.Channel, payload)
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", Name(want), diff)
		}
	})
}

func TestCommandsComeBackFromTheirEncoding(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"declare", (&Declare{}).Append(nil), "Command{Declare: Declare{}}"},
		{"declare with a global id", (&Declare{GlobalID: []byte{1}}).Append(nil), "Command{Declare: Declare{GlobalID: x01}}"},
		{"discharge", (&Discharge{TxnID: []byte{7}}).Append(nil), "Command{Discharge: Discharge{TxnID: x07}}"},
		{"discharge, failed", (&Discharge{TxnID: []byte{7}, Fail: true}).Append(nil), "Command{Discharge: Discharge{TxnID: x07, Fail: true}}"},
		{"declare by symbol", append(wire.AppendSymbol([]byte{0}, "amqp:declare:list"), 0x45), "Command{Declare: Declare{}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeCommand(c.b)
			if err != nil || golden.Show(got) != c.want {
				t.Errorf("got %s and %v, want %s", golden.Show(got), err, c.want)
			}
		})
	}
	for _, c := range []struct {
		name string
		b    []byte
		want Condition
	}{
		{"another type is not implemented", (&State{Kind: StateAccepted}).Append(nil), NotImplemented},
		{"a discharge without an id is invalid", []byte{0, 0x53, 0x32, 0x45}, InvalidField},
		{"a string is malformed", wire.AppendString(nil, "x"), DecodeFailed},
		{"bytes behind it are malformed", []byte{0, 0x53, 0x31, 0x45, 0x40}, DecodeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeCommand(c.b)
			if e, ok := err.(*DecodeError); !ok || e.Condition != c.want { //nolint:errorlint // documented type
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestProtocolHeaders(t *testing.T) {
	b := Version(ProtocolSASL).Append(nil)
	if string(b) != "AMQP\x03\x01\x00\x00" {
		t.Errorf("got % x", b)
	}
	if p, err := ParseProtocol(b); err != nil || p != Version(ProtocolSASL) {
		t.Errorf("got %v and %v", p, err)
	}
	if _, err := ParseProtocol([]byte("GET / HT")); err == nil {
		t.Error("got no error, want one")
	}
	if h, err := ParseHeader(AppendEmpty(nil)); err != nil || !h.Empty() {
		t.Errorf("got %v and %v, want an empty frame", h, err)
	}
}
