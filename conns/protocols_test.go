package conns_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

var (
	errBoom = errors.New("boom")
	plain   = transport.TCP{}
)

// readAll reads until that fails.
func readAll(_ context.Context, c *transport.Conn) error {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			return err
		}
	}
}

// untilWriteFails ignores that it is asked to stop, until its socket is closed.
func untilWriteFails(_ context.Context, c *transport.Conn) error {
	for {
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, protocol.ErrShutdown) {
			return err
		}
		if _, err := c.Write([]byte{'.'}); err != nil {
			return err
		}
	}
}

// untilCancelled waits for the end of its context and does not use the socket.
func untilCancelled(ctx context.Context, _ *transport.Conn) error {
	<-ctx.Done()
	return ctx.Err()
}

// returnAfter returns a protocol that returns err d after it was asked to stop.
func returnAfter(d time.Duration, err error) protocol.Func {
	return func(ctx context.Context, _ *transport.Conn) error {
		<-ctx.Done()
		time.Sleep(d)
		return err
	}
}

// untilSocketCloses waits for the close of its socket only.
func untilSocketCloses(_ context.Context, c *transport.Conn) error {
	<-c.NetConn().(*stub).closed
	return net.ErrClosed
}

func closeClient(_ *harness, client net.Conn) { client.Close() }

func resetClient(_ *harness, client net.Conn) {
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
}

func stopServer(h *harness, _ net.Conn) { h.shutdown() }

// abortServer stops the supervisor without time for connections.
func abortServer(h *harness, _ net.Conn) {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := h.sup.Drain(ctx, conns.DrainOptions{}); err != nil {
		h.Errorf("Drain: got %v, want nil", err)
	}
}

func killAll(h *harness, _ net.Conn) {
	for _, c := range list(h.sup) {
		if !kill(h.sup, c.ID) {
			h.Errorf("Kill of connection %d: got 0, want 1", c.ID)
		}
	}
}

func noAction(*harness, net.Conn) {}

type network string

const (
	loopback network = "tcp"
	pipe     network = "pipe"
)

func (n network) pair(t testing.TB) (server, client net.Conn) {
	if n == loopback {
		return tcpPair(t)
	}
	server, client = net.Pipe()
	t.Cleanup(func() { client.Close() })
	return server, client
}
