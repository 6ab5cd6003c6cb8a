package amqp

import (
	"sync"

	"github.com/selvedge-mq/selvedge/routing"
)

const (
	bufferSize    = 64 << 10  // of a buffer between the network and the owner
	bufferKeepMax = 256 << 10 // larger ones are left to the collector
)

// pools lends what a connection needs only while it is busy, so that an idle
// connection holds no big buffer. The zero value is ready.
type pools struct {
	batches    sync.Pool // *batch
	buffers    sync.Pool // *[]byte
	scratches  sync.Pool // *scratch
	deliveries sync.Pool // *[]routing.Delivery
	results    sync.Pool // *[]routing.Result
}

func (p *pools) batch() *batch {
	if b, ok := p.batches.Get().(*batch); ok {
		return b
	}
	return &batch{buf: make([]byte, 0, bufferSize)}
}

func (p *pools) putBatch(b *batch) {
	if cap(b.buf) > bufferKeepMax {
		return
	}
	b.reset()
	p.batches.Put(b)
}

func (p *pools) buffer() []byte {
	if b, ok := p.buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, bufferSize)
}

func (p *pools) putBuffer(b []byte) {
	if cap(b) <= bufferKeepMax {
		p.buffers.Put(&b)
	}
}

func (p *pools) scratch() *scratch {
	if s, ok := p.scratches.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

func (p *pools) putScratch(s *scratch) {
	*s = scratch{}
	p.scratches.Put(s)
}

// copyDeliveries returns a lent copy of ds.
func (p *pools) copyDeliveries(ds []routing.Delivery) *[]routing.Delivery {
	c, ok := p.deliveries.Get().(*[]routing.Delivery)
	if !ok {
		c = new([]routing.Delivery)
	}
	*c = append((*c)[:0], ds...)
	return c
}

func (p *pools) putDeliveries(c *[]routing.Delivery) {
	clear(*c)
	p.deliveries.Put(c)
}

// copyResults returns a lent copy of rs.
func (p *pools) copyResults(rs []routing.Result) *[]routing.Result {
	c, ok := p.results.Get().(*[]routing.Result)
	if !ok {
		c = new([]routing.Result)
	}
	*c = append((*c)[:0], rs...)
	return c
}

func (p *pools) putResults(c *[]routing.Result) {
	clear(*c)
	p.results.Put(c)
}
