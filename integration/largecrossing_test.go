package integration

import (
	"bytes"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// A large message of one protocol is read in the other, on another node: in one data
// section, and behind a content-length.
func TestLargeMessagesBetweenSTOMPAndAMQP(t *testing.T) {
	beside(t)
	c := harness.StartCluster(t, 3)
	queue, size := ledBy(t, c.Nodes[0], "c", "large-crossing"), largeSTOMPSize(t)
	meanwhile := func() {}
	body := noise(size, 3)
	_, s := goSession(t, c.Node("b").AMQP)

	t.Run("STOMP to AMQP", func(t *testing.T) {
		dialSlow(t, c.Node("a").STOMP).upload(t, queue, body, meanwhile)
		r := goReceiver(t, s, queue, nil)
		m, err := r.Receive(bounded(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.GetData(), body) {
			t.Errorf("got %d bytes, want the %d that were sent", len(m.GetData()), size)
		}
		if err := r.AcceptMessage(bounded(t), m); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(bounded(t)); err != nil {
			t.Fatal(err)
		}
	})
	for name, m := range map[string]*amqp.Message{
		"data":   amqp.NewMessage(body),
		"binary": {Value: body},
		"text":   {Value: string(bytes.ToValidUTF8(body[:size/2], nil))},
	} {
		t.Run("AMQP to STOMP, "+name, func(t *testing.T) {
			want := m.GetData()
			switch v := m.Value.(type) {
			case []byte:
				want = v
			case string:
				want = []byte(v)
			}
			if err := goSender(t, s, queue, nil).Send(bounded(t), m, nil); err != nil {
				t.Fatal(err)
			}
			if got := dialSlow(t, c.Node("a").STOMP).download(t, queue, len(want), meanwhile); !bytes.Equal(got, want) {
				t.Errorf("got %d octets that are not the %d that were sent", len(got), len(want))
			}
		})
	}
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}
