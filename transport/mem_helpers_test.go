package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// memOutcome returns a short name of err: the operation and the reason. It checks the type,
// Timeout, and io.EOF as package net documents them.
func memOutcome(err error) string {
	if err == nil {
		return "ok"
	}
	if err == io.EOF {
		return "EOF"
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		return fmt.Sprintf("no OpError: %v", err)
	}
	why := op.Err.Error()
	for _, known := range []struct {
		err     error
		name    string
		timeout bool
	}{
		{net.ErrClosed, "closed", false}, {os.ErrDeadlineExceeded, "timeout", true}, {context.DeadlineExceeded, "context timeout", true},
		{syscall.ECONNRESET, "ECONNRESET", false}, {syscall.EPIPE, "EPIPE", false},
		{syscall.ECONNREFUSED, "ECONNREFUSED", false}, {syscall.EADDRINUSE, "EADDRINUSE", false},
	} {
		if errors.Is(err, known.err) {
			why = known.name
			if op.Timeout() != known.timeout {
				why += fmt.Sprintf(", Timeout()=%t", op.Timeout())
			}
		}
	}
	return op.Op + " " + why
}

// memDeadline sets the deadline of a listener; 0 removes it.
func memDeadline(l net.Listener, after time.Duration) {
	var at time.Time
	if after != 0 {
		at = time.Now().Add(after)
	}
	if err := l.(interface{ SetDeadline(time.Time) error }).SetDeadline(at); err != nil {
		panic(err)
	}
}

func memDialClose(m *transport.Mem, l net.Listener) {
	conn, err := m.Dial(context.Background(), l.Addr().String())
	if err != nil {
		panic(err)
	}
	conn.Close()
}

func memAcceptClose(l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		panic(err)
	}
	conn.Close()
}

// memDrain closes the connections in the backlog, and returns their number.
func memDrain(l net.Listener) (n int) {
	if err := l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(time.Second)); err != nil {
		return 0 // the listener is closed
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return n
		}
		conn.Close()
		n++
	}
}

// memConnect dials and accepts; the caller closes both ends.
func memConnect(tb testing.TB, m *transport.Mem, l net.Listener) (client, server net.Conn) {
	tb.Helper()
	client, err := m.Dial(context.Background(), l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	return client, server
}

// memConns returns a new connection; the caller closes both ends.
func memConns(tb testing.TB) (client, server net.Conn) {
	tb.Helper()
	var m transport.Mem
	l, err := m.Listen(context.Background(), "")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return memConnect(tb, &m, l)
}
