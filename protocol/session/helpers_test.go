package session_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"goranch/protocol/session"
)

// client is a Holder that keeps what it is told, each piece by itself.
type client struct {
	mu     sync.Mutex
	got    []string
	lost   []int
	limit  int // of pieces it takes; 0 is none
	taken  chan net.Addr
	closed chan struct{}
}

var errFull = errors.New("full")

func newClient() *client {
	return &client{taken: make(chan net.Addr, 8), closed: make(chan struct{}, 8)}
}

func (c *client) Deliver(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && len(c.got) >= c.limit {
		return errFull
	}
	c.got = append(c.got, string(bytes.Clone(b)))
	return nil
}

func (c *client) Resumed(lost int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, lost)
	return nil
}

func (c *client) TakenOver(by net.Addr) { c.taken <- by }
func (c *client) Ended()                { c.closed <- struct{}{} }

func (c *client) pieces() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.got...)
}

func addr(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port} }

// state is what the tests' sessions hold.
type state struct{ N int }

// begin returns a manager that is closed with the test.
func begin(t testing.TB, opts session.Options[state]) *session.Manager[state] {
	t.Helper()
	m, err := session.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

func create(t testing.TB, m *session.Manager[state], h session.Holder) *session.Lease[state] {
	t.Helper()
	l, err := m.Create(t.Context(), addr(1), h, state{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func attach(t testing.TB, m *session.Manager[state], id string, h session.Holder) *session.Lease[state] {
	t.Helper()
	l, err := m.Attach(t.Context(), id, addr(2), h)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// do fails the test if a step did.
func do(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
