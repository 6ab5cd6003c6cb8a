package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// dialSTOMP connects and logs in. The connection is closed when ctx ends before
// that; afterwards whoever has it closes it.
func dialSTOMP(ctx context.Context, at *server, timeout time.Duration) (*stomp.Conn, net.Conn, error) {
	nc, err := at.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	opts := []func(*stomp.Conn) error{
		stomp.ConnOpt.Host(at.Host()),
		stomp.ConnOpt.Logger(silent{}),
		stomp.ConnOpt.HeartBeat(time.Minute, time.Minute),
		stomp.ConnOpt.RcvReceiptTimeout(timeout),
		stomp.ConnOpt.MsgSendTimeout(timeout),
		stomp.ConnOpt.DisconnectReceiptTimeout(closeTimeout),
	}
	if at.User != "" {
		opts = append(opts, stomp.ConnOpt.Login(at.User, at.Password))
	}
	conn, err := stomp.ConnectWithContext(ctx, nc, opts...)
	if err != nil {
		_ = nc.Close()
		return nil, nil, err
	}
	return conn, nc, nil
}

// silent is a logger that says nothing: errors are returned as well.
type silent struct{}

func (silent) Debugf(string, ...any)   {}
func (silent) Infof(string, ...any)    {}
func (silent) Warningf(string, ...any) {}
func (silent) Errorf(string, ...any)   {}
func (silent) Debug(string)            {}
func (silent) Info(string)             {}
func (silent) Warning(string)          {}
func (silent) Error(string)            {}

// stompSender sends with a receipt for each message.
type stompSender struct {
	conn *stomp.Conn
	nc   net.Conn
	to   string
}

func openSTOMPSender(ctx context.Context, at *server, d destination, timeout time.Duration) (sender, error) {
	conn, nc, err := dialSTOMP(ctx, at, timeout)
	if err != nil {
		return nil, err
	}
	return &stompSender{conn: conn, nc: nc, to: d.stomp()}, nil
}

func (s *stompSender) send(ctx context.Context, m outgoing) error {
	stop := context.AfterFunc(ctx, func() { _ = s.nc.Close() })
	defer stop()
	contentType := ""
	opts := []func(*frame.Frame) error{
		stomp.SendOpt.Receipt,
		stomp.SendOpt.Header("persistent", strconv.FormatBool(m.persistent)),
	}
	for _, h := range m.headers {
		if h.name == frame.ContentType {
			contentType = h.value
			continue
		}
		opts = append(opts, stomp.SendOpt.Header(h.name, h.value))
	}
	return s.conn.Send(s.to, contentType, m.body, opts...)
}

func (s *stompSender) close() error { return s.conn.Disconnect() }

// abort closes the socket only: the client library would wait for a receipt.
func (s *stompSender) abort() { _ = s.nc.Close() }

// stompSource receives with an acknowledgement for each message.
type stompSource struct {
	conn *stomp.Conn
	nc   net.Conn
	sub  *stomp.Subscription
}

func openSTOMPSource(ctx context.Context, at *server, d destination, most int) (source, error) {
	conn, nc, err := dialSTOMP(ctx, at, connectTimeout)
	if err != nil {
		return nil, err
	}
	credit := maxCredit
	if most > 0 {
		credit = min(credit, most)
	}
	n := strconv.Itoa(credit)
	sub, err := conn.Subscribe(d.stomp(), stomp.AckClientIndividual,
		stomp.SubscribeOpt.Header("prefetch-count", n), stomp.SubscribeOpt.Header("activemq.prefetchSize", n))
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return &stompSource{conn: conn, nc: nc, sub: sub}, nil
}

func (s *stompSource) receive(ctx context.Context) (incoming, error) {
	select {
	case m, ok := <-s.sub.C:
		switch {
		case !ok:
			return incoming{}, errConnectionClosed
		case m.Err != nil:
			return incoming{}, m.Err
		}
		return incoming{
			body:    m.Body,
			headers: stompHeaders(m.Header),
			settle:  func(context.Context) error { return s.conn.Ack(m) },
		}, nil
	case <-ctx.Done():
		return incoming{}, ctx.Err()
	}
}

// stompHeaders lists the headers but those that only the client library needs.
func stompHeaders(h *frame.Header) []header {
	var list []header
	for i := range h.Len() {
		name, value := h.GetAt(i)
		switch strings.ToLower(name) {
		case frame.Subscription, frame.Ack, frame.ContentLength:
		default:
			list = append(list, header{name: name, value: value})
		}
	}
	return list
}

// close waits until the broker has seen all acknowledgements. Messages that
// come meanwhile are thrown away unacknowledged, so that the client library,
// which reads receipts behind them, does not stall.
func (s *stompSource) close(wait time.Duration) error {
	end := time.AfterFunc(wait, func() { _ = s.nc.Close() })
	var wg sync.WaitGroup
	wg.Go(func() {
		for range s.sub.C { // emptying it is all
		}
	})
	err := s.conn.Disconnect()
	wg.Wait()
	if !end.Stop() {
		return silentFor(wait)
	}
	return err
}
