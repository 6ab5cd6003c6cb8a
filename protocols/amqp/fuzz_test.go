package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/message"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
)

// FuzzConn plays arbitrary clients. Whatever they send, the node does not panic,
// what it answers is AMQP on channels that have a session, with delivery-ids in
// sequence, and nothing of the client is left at the broker.
func FuzzConn(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var b []byte
		p := &player{}
		for line := range strings.Lines(string(text)) {
			if _, rest, ok := cutMark(strings.TrimSuffix(line, "\n"), "> "); ok {
				for part := range strings.SplitSeq(rest, " & ") {
					b = p.encode(b, part)
				}
			}
		}
		f.Add(false, b)
	}
	f.Add(true, []byte("\x02\x00\x00\x02\x01\x01\x03\x01\x30\x04\x00\x00\x04\x00\x01\x05\x00\x30\x06\x00\x00\x07\x00\x00\x08\x00\x00"))
	f.Add(true, []byte{
		2, 0, 0x10, // a coordinator on handle 0
		0, 0, 0x20, 0, 0, 0x20, // two declares
		2, 1, 0x00, 2, 2, 0x01, // a sender and a receiver
		0, 1, 0x50, 0, 1, 0x14, // messages of the first transaction
		3, 2, 0x40, 5, 0, 0x25, // credit, and a delivery that it settles
		0, 0, 0x61, 0, 0, 0xe2, // a commit and a rollback
		2, 3, 0x61, 6, 3, 0x01, 6, 0, 0x01,
	})
	f.Add(true, []byte{
		2, 0, 0x00, 2, 1, 0x01, // a link in each direction
		0, 0, 0xf1, 0, 0, 0xf9, 0, 0, 0xf8, 0, 0, 0xf1, 0, 0, 0xfa, // messages of more than 500 bytes, one aborted
		3, 1, 0x40, 5, 0, 0x85, 3, 1, 0x4f, 5, 0, 0xa5, 6, 1, 0x00,
	})
	f.Fuzz(func(t *testing.T, structured bool, data []byte) {
		if structured {
			data = invent(data)
		}
		playBytes(t, data)
	})
}

// invent makes performatives of bytes: three bytes each say which one, where,
// and the rest.
func invent(data []byte) []byte {
	b := frames.Version(frames.ProtocolAMQP).Append(nil)
	b = frames.AppendFrame(b, 0, &frames.Open{ContainerID: "c", MaxFrameSize: 512, ChannelMax: 3})
	b = frames.AppendFrame(b, 0, &frames.Begin{IncomingWindow: 9, OutgoingWindow: 9, HandleMax: 3})
	id := uint32(0)
	for ; len(data) >= 3; data = data[3:] {
		channel, handle, bits := uint16(data[1]>>6&1), uint32(data[1]&3), data[2]
		flag := func(n uint) bool { return bits>>n&1 == 1 }
		switch data[0] % 9 {
		case 0, 1:
			t := frames.Transfer{Handle: handle, More: flag(0), Aborted: flag(1), MessageFormat: wire.Some(uint32(0))}
			t.Settled = wire.Some(flag(2))
			if !flag(3) {
				t.DeliveryID, t.DeliveryTag = wire.Some(id), []byte{byte(id)}
				id++
			}
			payload := message.AppendData(nil, make([]byte, int(bits>>4)*50))
			if flag(4) { // it may be of a transaction, or a command to the coordinator
				t.State = frames.State{Kind: frames.StateTransactional, TxnID: []byte{0, 0, 0, 0, 0, 0, 0, bits >> 6}}
			} else if flag(5) {
				payload = inventCommand(bits)
			}
			b = append(frames.AppendTransfer(b, channel, &t, len(payload)), payload...)
		case 2:
			a := frames.Attach{
				Name: string('a' + rune(bits>>6)), Handle: handle, Role: frames.Role(flag(0)),
				Source: &frames.Source{Address: wire.Some("q")}, Target: &frames.Target{Address: wire.Some("q")},
			}
			switch {
			case flag(4) && a.Role == frames.RoleSender:
				a.Target, a.Coordinator = nil, &frames.Coordinator{}
			case flag(5):
				a.Target.Dynamic, a.Target.Address = true, wire.Optional[string]{}
				a.Source.Dynamic, a.Source.Address = true, wire.Optional[string]{}
			}
			if flag(1) {
				a.SndSettleMode = wire.Some(frames.SenderSettleMode(bits >> 2 & 1))
				a.RcvSettleMode = wire.Some(frames.ReceiverSettleMode(bits >> 3 & 1))
			}
			b = frames.AppendFrame(b, channel, &a)
		case 3, 4:
			fl := frames.Flow{IncomingWindow: uint32(bits & 15), OutgoingWindow: 9, NextOutgoingID: 1 << 20, Echo: flag(4)}
			if !flag(5) {
				fl.Handle, fl.LinkCredit = wire.Some(handle), wire.Some(uint32(bits>>4))
				fl.DeliveryCount, fl.Drain = wire.Some(uint32(bits&7)), flag(6)
			}
			b = frames.AppendFrame(b, channel, &fl)
		case 5:
			b = frames.AppendFrame(b, channel, &frames.Disposition{
				Role: frames.RoleReceiver, First: uint32(bits & 7), Last: uint32(bits & 31), Settled: flag(5),
				State: inventState(bits),
			})
		case 6:
			b = frames.AppendFrame(b, channel, &frames.Detach{Handle: handle, Closed: flag(0)})
		case 7:
			b = frames.AppendFrame(b, channel, &frames.End{})
		case 8:
			b = frames.AppendFrame(b, 1, &frames.Begin{IncomingWindow: uint32(bits), OutgoingWindow: 9, HandleMax: 3})
		}
	}
	return frames.AppendFrame(b, 0, &frames.Close{})
}

// inventState makes a delivery state, in a transaction or not.
func inventState(bits byte) frames.State {
	s := frames.State{Kind: frames.StateKind(bits >> 5 % 6)}
	if bits>>2&1 == 1 {
		s = frames.State{
			Kind: frames.StateTransactional, TxnID: []byte{0, 0, 0, 0, 0, 0, 0, bits & 3}, Outcome: frames.StateAccepted + frames.StateKind(bits>>6),
		}
	}
	return s
}

// inventCommand makes a declare or a discharge.
func inventCommand(bits byte) []byte {
	if bits>>6&1 == 0 {
		return appendCommand(nil, (&frames.Declare{}).Append(nil))
	}
	return appendCommand(nil, (&frames.Discharge{TxnID: []byte{0, 0, 0, 0, 0, 0, 0, bits & 3}, Fail: bits>>7 == 1}).Append(nil))
}

// playBytes sends what a client sends, and checks what comes back.
func playBytes(t *testing.T, data []byte) {
	t.Helper()
	broker := prototest.New()
	defer broker.Close()
	fe, err := New(Options{MaxFrameSize: 1024, Credit: 5, Window: 8, Env: protocols.Env{
		Broker: broker, Auth: prototest.Users(nil), Log: zerolog.Nop(), Node: "n1",
		Limits: protocols.Limits{MessageSize: 500, LargeSize: 2000},
	}})
	if err != nil {
		t.Fatal(err)
	}
	server, peer := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- fe.Serve(context.Background(), server) }()
	read := make(chan error, 1)
	go func() { read <- checkAnswers(peer) }()
	if err := peer.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = peer.Write(data) // a refused client writes into the void
	peer.Close()
	select {
	case <-ended: //nolint:errcheck // it ends as it may
	case <-time.After(20 * time.Second):
		t.Fatal("the connection does not end")
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	if r := broker.Record(); r.Sessions != 0 || r.Subscriptions != 0 || r.Transactions != 0 || r.Uploads != 0 {
		t.Errorf("got %d sessions, %d subscriptions, %d transactions and %d uploads left at the broker", r.Sessions, r.Subscriptions, r.Transactions, r.Uploads)
	}
	if n := len(fe.o.Names.held); n != 0 {
		t.Errorf("got %d names of links left", n)
	}
}

// checkAnswers reads what a node answers.
func checkAnswers(nc net.Conn) error {
	var d frames.Decoder
	next := make(map[uint16]uint32)
	in := newReader(nc, new(pools), 1<<20)
	for {
		b, err := in.peek(frames.ProtocolSize)
		if err != nil {
			return nil // the end
		}
		if _, err := frames.ParseProtocol(b); err == nil {
			in.discard(frames.ProtocolSize)
			continue
		}
		h, err := frames.ParseHeader(b)
		if err != nil {
			return err
		}
		if b, err = in.peek(int(h.Size)); err != nil {
			return nil
		}
		p, payload, err := d.Decode(h.Type, b[h.Body():h.Size])
		if err != nil && !h.Empty() {
			return err
		}
		_, live := next[h.Channel]
		switch p := p.(type) {
		case *frames.Begin:
			if live {
				return errors.New("a begin on a channel that has a session")
			}
			next[h.Channel] = p.NextOutgoingID
		case *frames.End:
			delete(next, h.Channel)
		}
		if p != nil && p.Code() > frames.CodeBegin && p.Code() <= frames.CodeEnd && !live {
			return fmt.Errorf("%s on a channel without a session", frames.Name(p))
		}
		if tr, ok := p.(*frames.Transfer); ok {
			if tr.DeliveryID.Set && tr.DeliveryID.Value != next[h.Channel] {
				return errors.New("the delivery-ids are out of sequence")
			}
			if tr.DeliveryID.Set {
				next[h.Channel]++
			}
			if len(payload) == 0 {
				return errors.New("a transfer without payload")
			}
		}
		in.discard(int(h.Size))
	}
}
