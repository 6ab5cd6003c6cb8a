package bench

import (
	"context"
	"time"
)

// closeTimeout bounds the orderly end of a connection.
const closeTimeout = 10 * time.Second

// link is one connection of a producer or a consumer.
type link interface {
	// done is closed when the connection has failed or ended.
	done() <-chan struct{}
	// err tells why; it is asked for after done only.
	err() error
	// close ends the connection in order: what was handed over is written, and
	// acknowledgements reach the broker.
	close(ctx context.Context) error
	// abort ends it at once.
	abort()
}

// outlet is a producer's connection.
type outlet interface {
	link
	// send hands over a message for a queue. It may wait while the connection
	// is full. The body is not kept.
	send(ctx context.Context, queue int, seq uint64, body []byte) error
}

// confirmer is told what became of messages. A nil error means confirmed,
// another one refused. It may be called by several goroutines at once.
type confirmer interface {
	confirm(seq uint64, err error)
}

// receiver gets the messages of a connection. Calls for one queue come one
// after the other, for different queues maybe at once. The body is not kept.
type receiver interface {
	receive(queue int, body []byte, redelivered bool)
}

// driver opens connections of one protocol.
type driver interface {
	produce(ctx context.Context, server string, c confirmer) (outlet, error)
	consume(ctx context.Context, server string, queues []int, r receiver) (link, error)
}

func (o *Options) driver(protocol string) driver {
	if protocol == AMQP {
		return &amqpDriver{opts: o}
	}
	return &stompDriver{opts: o}
}

// redial is the pause before a connection is tried again.
func redial(ctx context.Context, attempt int) {
	const shortest, longest = 20 * time.Millisecond, time.Second
	t := time.NewTimer(min(longest, shortest<<min(attempt, 10)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// closing returns the context in which a link is closed when ctx may be over.
func closing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
}
