package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/selvedge-mq/selvedge/integration/harness"
)

// protonLarge moves one large message between a file and a queue by Proton for Python.
func protonLarge(verb string) carrier {
	return func(ctx context.Context, addr, queue, file string) error {
		out, err := exec.CommandContext(ctx, python, "testdata/largeproton.py", verb, addr, queue, file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("python3-qpid-proton: %s: %w\n%s", verb, err, out)
		}
		return nil
	}
}

// goAMQPSendLarge and goAMQPReceiveLarge move one large message by go-amqp.
func goAMQPSendLarge(ctx context.Context, addr, queue, file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return onGoAMQP(ctx, addr, func(s *amqp.Session) error {
		snd, err := s.NewSender(ctx, queue, nil)
		if err != nil {
			return err
		}
		return snd.Send(ctx, &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Data: [][]byte{body}}, nil)
	})
}

func goAMQPReceiveLarge(ctx context.Context, addr, queue, file string) error {
	return onGoAMQP(ctx, addr, func(s *amqp.Session) error {
		r, err := s.NewReceiver(ctx, queue, nil)
		if err != nil {
			return err
		}
		m, err := r.Receive(ctx, nil)
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(file, m.GetData(), 0o600), r.AcceptMessage(ctx, m))
	})
}

// onGoAMQP does something in a session of its own.
func onGoAMQP(ctx context.Context, addr string, do func(s *amqp.Session) error) error {
	c, err := amqp.Dial(ctx, "amqp://"+addr, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	if err != nil {
		return err
	}
	s, err := c.NewSession(ctx, nil)
	if err == nil {
		err = do(s)
	}
	return errors.Join(err, c.Close())
}

// Proton as sender and as receiver of large messages, by its blocking API, which holds
// them, and by its reactor, which moves them by a window of a few pieces. Producer,
// consumer and leader are on three nodes; none of them holds the message.
func TestLargeMessagesOfProton(t *testing.T) {
	beside(t)
	needProton(t)
	size := number(t, "SELVEDGE_LARGE", sized(20<<20, 100<<20))
	c := harness.StartCluster(t, 3, "--message-size", fmt.Sprintf("%dMiB", max(100, size>>20)))
	queue := ledBy(t, c.Nodes[0], "c", "large-proton")
	for i, pair := range []struct {
		name          string
		send, receive carrier
	}{
		{"blocking to blocking", protonLarge("send"), protonLarge("receive")},
		{"in pieces both ways", protonLarge("stream"), protonLarge("drink")},
		{"blocking to go-amqp", protonLarge("send"), goAMQPReceiveLarge},
		{"in pieces to go-amqp", protonLarge("stream"), goAMQPReceiveLarge},
		{"go-amqp to blocking", goAMQPSendLarge, protonLarge("receive")},
		{"go-amqp to pieces", goAMQPSendLarge, protonLarge("drink")},
	} {
		t.Run(pair.name, func(t *testing.T) {
			before, since := moveLarge(t, c, c.Nodes[0].AMQP, c.Nodes[1].AMQP, queue, noise(size, byte(i)), pair.send, pair.receive)
			for name, most := range since {
				if size >= 256<<20 && most-before[name] >= int64(size) { // a small one is lost in what a busy node takes
					t.Errorf("node %s has grown by %d MiB, want less than the %d of the message", name, (most-before[name])>>20, size>>20)
				}
			}
		})
	}
	harness.AwaitDepth(t, c.Nodes[0].HTTP, queue, 0)
}
