package amqp

import (
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/amqp/frames"
	"github.com/selvedge-mq/selvedge/protocols/amqp/wire"
)

// trace shows a performative to who watches and to the log of level trace; never
// what a message holds, whose length payload is.
func (c *conn) trace(sent bool, channel uint16, p frames.Performative, payload int) {
	if !c.watched() {
		return
	}
	text := string(describe(nil, channel, p, payload))
	c.f.o.Env.Traces.Offer(protocols.Trace{
		Time: time.Now(), Protocol: "amqp", Conn: c.nc.RemoteAddr().String(), Client: c.nc.RemoteAddr().String(),
		User: c.principal.Name, Sent: sent, Frame: text,
	})
	c.event(zerolog.TraceLevel).Bool("sent", sent).Str("frame", text).Msg("frame")
}

// watched reports whether anybody sees the frames.
func (c *conn) watched() bool {
	return c.f.o.Env.Log.GetLevel() <= zerolog.TraceLevel || c.f.o.Env.Traces.Active()
}

// describe appends what a performative says, as far as an operator needs it.
func describe(dst []byte, channel uint16, p frames.Performative, payload int) []byte {
	dst = append(dst, frames.Name(p)...)
	dst = number(dst, " channel=", uint64(channel))
	switch p := p.(type) {
	case *frames.Open:
		dst = quoted(dst, " container-id=", p.ContainerID)
	case *frames.Attach:
		dst = describeAttach(dst, p)
	case *frames.Flow:
		dst = optional(dst, " handle=", p.Handle)
		dst = optional(dst, " delivery-count=", p.DeliveryCount)
		dst = optional(dst, " link-credit=", p.LinkCredit)
		dst = set(dst, mark{" drain", p.Drain}, mark{" echo", p.Echo})
	case *frames.Transfer:
		dst = number(dst, " handle=", uint64(p.Handle))
		dst = optional(dst, " delivery-id=", p.DeliveryID)
		dst = set(dst, mark{" settled", p.Settled.Or(false)}, mark{" more", p.More}, mark{" aborted", p.Aborted})
	case *frames.Disposition:
		dst = number(dst, " first=", uint64(p.First))
		dst = number(dst, " last=", uint64(p.Last))
		dst = append(append(dst, " state="...), p.State.Kind.String()...)
		dst = set(dst, mark{" settled", p.Settled})
	case *frames.Detach:
		dst = number(dst, " handle=", uint64(p.Handle))
		dst = reasonOf(set(dst, mark{" closed", p.Closed}), p.Error)
	case *frames.End:
		dst = reasonOf(dst, p.Error)
	case *frames.Close:
		dst = reasonOf(dst, p.Error)
	}
	if payload > 0 {
		dst = append(number(dst, " (", uint64(payload)), " octets)"...)
	}
	return dst
}

func describeAttach(dst []byte, p *frames.Attach) []byte {
	dst = quoted(dst, " name=", p.Name)
	dst = number(dst, " handle=", uint64(p.Handle))
	dst = append(append(dst, " role="...), p.Role.String()...)
	if p.Source != nil {
		dst = quoted(dst, " source=", p.Source.Address.Or(""))
		dst = set(dst, mark{" dynamic", p.Source.Dynamic})
	}
	if p.Target != nil {
		dst = quoted(dst, " target=", p.Target.Address.Or(""))
		dst = set(dst, mark{" dynamic", p.Target.Dynamic})
	}
	dst = set(dst, mark{" coordinator", p.Coordinator != nil})
	return dst
}

func reasonOf(dst []byte, e *frames.Error) []byte {
	if e == nil {
		return dst
	}
	return quoted(append(append(dst, " error="...), e.Condition...), " ", e.Description)
}

func number(dst []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(dst, name...), n, 10)
}

func optional(dst []byte, name string, n wire.Optional[uint32]) []byte {
	if n.Set {
		return number(dst, name, uint64(n.Value))
	}
	return dst
}

// quoted keeps what a client chose on one line.
func quoted(dst []byte, name, text string) []byte {
	return strconv.AppendQuote(append(dst, name...), text)
}

type mark struct {
	name string
	set  bool
}

func set(dst []byte, all ...mark) []byte {
	for _, f := range all {
		if f.set {
			dst = append(dst, f.name...)
		}
	}
	return dst
}
