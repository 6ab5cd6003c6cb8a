package amqp

import (
	"testing"

	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		p       frames.Performative
		payload int
		want    string
	}{
		{&frames.Open{ContainerID: "a\nb"}, 0, `open channel=3 container-id="a\nb"`},
		{&frames.Begin{}, 0, `begin channel=3`},
		{
			&frames.Attach{Name: "l", Role: frames.RoleSender, Source: &frames.Source{Dynamic: true}, Target: &frames.Target{Address: wire.Some("q")}},
			0, `attach channel=3 name="l" handle=0 role=sender source="" dynamic target="q"`,
		},
		{&frames.Attach{Name: "t", Coordinator: &frames.Coordinator{}}, 0, `attach channel=3 name="t" handle=0 role=sender coordinator`},
		{
			&frames.Flow{Handle: wire.Some(uint32(1)), LinkCredit: wire.Some(uint32(10)), Drain: true},
			0, `flow channel=3 handle=1 link-credit=10 drain`,
		},
		{
			&frames.Transfer{Handle: 1, DeliveryID: wire.Some(uint32(2)), Settled: wire.Some(true), More: true},
			300, `transfer channel=3 handle=1 delivery-id=2 settled more (300 octets)`,
		},
		{
			&frames.Disposition{First: 1, Last: 2, Settled: true, State: frames.State{Kind: frames.StateAccepted}},
			0, `disposition channel=3 first=1 last=2 state=accepted settled`,
		},
		{
			&frames.Detach{Closed: true, Error: frames.Errorf(frames.NotFound, "no %q", "q")},
			0, `detach channel=3 handle=0 closed error=amqp:not-found "no \"q\""`,
		},
		{&frames.End{}, 0, `end channel=3`},
		{&frames.Close{}, 0, `close channel=3`},
	} {
		if got := string(describe(nil, 3, tt.p, tt.payload)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
