package stomp

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// encoding returns a machine with an auto subscription, and a delivery of that size.
func encoding(t *testing.T, version frame.Version, size int) (*machine, *delivery) {
	t.Helper()
	m := benchMachine(t, &nowhere{})
	m.version = version
	s := &subscription{sub: nowhereToo{}, header: []byte("subscription:1\n"), number: 1}
	return m, &delivery{sub: s, d: routing.Delivery{
		Tag: routing.Tag{Shard: 1, Key: 7},
		Envelope: routing.Envelope{
			Address: routing.Queue("orders"), Encoding: routing.EncodingSTOMP, Priority: 4, Timestamp: 1795603637863,
			Payload: []byte("persistent:true\ndestination:/queue/orders\nk\\cey:a\\cb\n\n" + strings.Repeat("x", size)),
		},
	}}
}

func TestAMessageIsEncodedWithoutAllocations(t *testing.T) {
	for _, size := range []int{0, 256, apartFrom / 2, 4 * apartFrom} {
		m, d := encoding(t, frame.V12, size)
		m.out = make([]byte, 0, 2*apartFrom)
		got := testing.AllocsPerRun(100, func() {
			m.hand(d)
			d.sub.encoded, m.written = 0, m.written[:0]
			m.out, m.apart, m.apartSize = m.out[:0], m.apart[:0], 0
		})
		if got != 0 {
			t.Errorf("%d octets: got %v allocations, want none", size, got)
		}
	}
}

func TestTheBodyOfALargeMessageIsNotCopied(t *testing.T) {
	for _, v := range []frame.Version{frame.V10, frame.V11, frame.V12} {
		m, d := encoding(t, v, 1<<20)
		m.hand(d)
		last := len(d.d.Envelope.Payload) - 1
		if len(m.apart) != 1 || &m.apart[0].b[len(m.apart[0].b)-1] != &d.d.Envelope.Payload[last] {
			t.Errorf("%s: got a copy of the payload, want itself", v)
		}
		if len(m.out) > 1<<10 || m.encoded() < 1<<20 {
			t.Errorf("%s: got %d octets in the buffer and %d in all, want headers alone and all", v, len(m.out), m.encoded())
		}
		m.whole = true
		m.dropOut()
		m.hand(d)
		if len(m.apart) != 0 || len(m.out) < 1<<20 {
			t.Errorf("%s: got a message in parts, want it whole where each frame is a message", v)
		}
	}
}

// Messages of all sizes arrive as they are and in their order, whether they are
// copied, written from where they stand, or in several pieces.
func TestMessagesOfAllSizesArriveWhole(t *testing.T) {
	sizes := []int{1, apartFrom - 100, apartFrom, 3, writePiece, writePiece + 1, 3*writePiece + 5, 0, outFull, 7}
	for _, version := range []string{"1.0", "1.2"} {
		t.Run(version, func(t *testing.T) {
			broker := newBroker(t)
			for i, size := range sizes {
				broker.Inject(routing.Envelope{
					Address: routing.Queue("q"), Encoding: routing.EncodingSTOMP,
					Payload: append([]byte("destination:/queue/q\n\n"), bytes.Repeat([]byte{byte('a' + i)}, size)...),
				})
			}
			nc := dial(t, listen(t, broker))
			_, err := io.WriteString(nc, "CONNECT\naccept-version:"+version+"\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/q\n\n\x00")
			if err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(nc)
			for i := -1; i < len(sizes); i++ {
				f, err := in.ReadBytes(0)
				if err != nil {
					t.Fatal(err)
				}
				if i < 0 {
					continue // CONNECTED
				}
				head, body, _ := bytes.Cut(f, []byte("\n\n"))
				if want := bytes.Repeat([]byte{byte('a' + i)}, sizes[i]); !bytes.Equal(body, append(want, 0)) {
					t.Fatalf("message %d: got %.200q and a body of %d octets, want %d of %q", i, head, len(body)-1, sizes[i], string(rune('a'+i)))
				}
			}
		})
	}
}
