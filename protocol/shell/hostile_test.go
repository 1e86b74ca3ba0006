package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
)

// A web page can make a browser send a POST to this port: the connection ends at the request line,
// before a line of the body is taken for a command.
func TestHTTPIsClosedAtItsFirstLine(t *testing.T) {
	ran := false
	srv := newTestServer(t, Options{Commands: []Command{{Name: "act", Run: func(context.Context, *Call) error { ran = true; return nil }}}})
	c := srv.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 4\r\n\r\nact\n")
	c.expectEnd("error: bad input: this is not an HTTP server\n")
	if ran {
		t.Error("a line of the body was run")
	}
	c = srv.dial()
	c.ask("echo GET / HTTP/1.1", "GET / HTTP/1.1")
	c.ask("GET / HTTP/1.1", `error: unknown command "GET"`) // not the first request
}

func TestGuestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, Options{
			MaxGuests: 2, GuestTimeout: time.Minute,
			Authenticate: func(context.Context, *transport.Conn) (User, error) { return User{"someone", Guest}, nil },
			Token: func(_ context.Context, _ *transport.Conn, token string) (User, error) {
				if token != "secret" {
					return User{}, errors.New("invalid token")
				}
				return User{"ops", Operator}, nil
			},
		})
		a, b := srv.dial(), srv.dial()
		full, err := srv.mem.Dial(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		if got, _ := io.ReadAll(full); !strings.Contains(string(got), "2 clients are connected without authentication") {
			t.Errorf("third guest: got %q, want a refusal", got)
		}
		a.ask("auth:secret", "ops, operator")
		c := srv.dial() // in the place of a, which is no guest any more
		for _, guest := range []*client{a, b, c} {
			guest.SetDeadline(time.Time{})
		}
		time.Sleep(2 * time.Minute)
		for _, guest := range []*client{b, c} {
			guest.expectEnd("error: bad input: no authentication within 1m0s\n")
		}
		a.ask("echo x", "x")
	})
}

// The memory of one session is limited: history and variables by their bytes.
func TestSessionMemoryIsLimited(t *testing.T) {
	srv := newTestServer(t, Options{})
	c := srv.dial()
	long := strings.Repeat("x", 4000)
	for range 20 {
		c.ask("echo "+long, long)
	}
	var history []string
	for i := range 4 { // one of the five that fit is the first of these requests
		c.ask(fmt.Sprintf("set v%d %s", i, long))
	}
	c.ask("set v4 "+long, "error: the variables would take 20008 bytes: allowed are 16384")
	c.ask("set v0 y")
	c.ask("set v4 " + long)
	for _, i := range srv.Sessions().List() {
		s, err := srv.Sessions().Attach(t.Context(), i.ID, nil, discard{})
		if err != nil {
			t.Fatal(err)
		}
		s.View(func(st *State) {
			history = st.History
			if n := st.size(); n > 40<<10 {
				t.Errorf("got a session of %d bytes, want at most 40 KiB", n)
			}
		})
	}
	n := 0
	for _, request := range history {
		n += len(request)
	}
	if n > 16<<10 || len(history) < 3 {
		t.Errorf("got %d requests with %d bytes in the history, want up to 16 KiB", len(history), n)
	}
}

type discard struct{}

func (discard) Deliver([]byte, int) error { return nil }
func (discard) Revoked(net.Addr, error)   {}

// A client that sends requests and does not read the answers makes its next requests wait.
func TestClientThatDoesNotRead(t *testing.T) {
	answer := strings.Repeat("x", 10_000)
	for _, quick := range []bool{true, false} {
		ran := make(chan struct{}, 10_000)
		srv := newTestServer(t, Options{Commands: []Command{
			{Name: "act", Quick: quick, Run: func(_ context.Context, c *Call) error { ran <- struct{}{}; c.Return(answer); return nil }},
		}})
		c := srv.dial()
		go io.WriteString(c, strings.Repeat("act\n", 1000))
		n := 0
		for idle := false; !idle; {
			select {
			case <-ran:
				n++
			case <-time.After(200 * time.Millisecond):
				idle = true
			}
		}
		if n > 12 { // 64 KiB in the connection, 24 KiB in the outbox, and one on its way
			t.Errorf("quick %v: got %d answers without a reader, want at most 12", quick, n)
		}
		c.Close()
	}
}
