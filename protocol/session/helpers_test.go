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

// client is a Holder that records its calls.
type client struct {
	mu      sync.Mutex
	got     []string // output, one element per piece
	lost    int      // sum of the lost bytes
	limit   int      // number of pieces it accepts; 0 is no limit
	revoked chan revocation
}

type revocation struct {
	by  net.Addr
	err error
}

var errFull = errors.New("full")

func newClient() *client { return &client{revoked: make(chan revocation, 8)} }

func (c *client) Deliver(b []byte, lost int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && len(c.got) >= c.limit {
		return errFull
	}
	c.lost += lost
	if len(b) > 0 {
		c.got = append(c.got, string(bytes.Clone(b)))
	}
	return nil
}

func (c *client) Revoked(by net.Addr, err error) { c.revoked <- revocation{by, err} }

func (c *client) pieces() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.got...)
}

func addr(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port} }

// state is the state of the sessions in the tests.
type state struct{ N int }

// newManager returns a manager that is closed at the end of the test.
func newManager(t testing.TB, opts session.Options[state]) *session.Manager[state] {
	t.Helper()
	m, err := session.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

func create(t testing.TB, m *session.Manager[state], h session.Holder) *session.Session[state] {
	t.Helper()
	s, err := m.Create(t.Context(), addr(1), h, state{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func attach(t testing.TB, m *session.Manager[state], id string, h session.Holder) *session.Session[state] {
	t.Helper()
	s, err := m.Attach(t.Context(), id, addr(2), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// must stops the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// generation returns the generation of the session that List reports.
func generation(t testing.TB, m *session.Manager[state], id string) uint64 {
	t.Helper()
	for _, i := range m.List() {
		if i.ID == id {
			return i.Generation
		}
	}
	t.Fatalf("List: got no session %s, want one", id)
	return 0
}
