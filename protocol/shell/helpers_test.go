package shell

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
	"goranch/transport"
)

// testServer is a shell on the in-memory transport.
type testServer struct {
	*Shell
	t   testing.TB
	l   *ranch.Listener
	mem *transport.Mem
}

func newTestServer(t testing.TB, opts Options) *testServer {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &testServer{Shell: s, t: t, mem: new(transport.Mem)}
	h.l, err = new(ranch.Server).StartListener("s", h.mem, ranch.Options{Addr: "s", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.l.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

// client is a connection to a testServer.
type client struct {
	net.Conn
	t  testing.TB
	r  *bufio.Reader
	id string
}

// dial connects and reads the identification.
func (h *testServer) dial() *client {
	h.t.Helper()
	nc, err := h.mem.Dial(context.Background(), "s")
	if err != nil {
		h.t.Fatal(err)
	}
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	c := &client{nc, h.t, bufio.NewReader(nc), ""}
	h.t.Cleanup(func() { nc.Close() })
	line := c.line()
	var ok bool
	if c.id, ok = strings.CutPrefix(line, identification); !ok {
		h.t.Fatalf("first line: got %q, want %q and an id", line, identification)
	}
	return c
}

// line reads a line.
func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %q and error %v, want a line", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a request and reads the wanted lines.
func (c *client) ask(request string, want ...string) {
	c.t.Helper()
	c.send(request + "\n")
	c.expect(want...)
}

func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.line(); got != w {
			c.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// rest reads until the end of the connection.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("got %q and error %v, want the end of the connection", b, err)
	}
	return string(b)
}

// expectEnd reads the wanted text and the end of the connection.
func (c *client) expectEnd(want string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.rest()); diff != "" {
		c.t.Fatalf("output (-want +got):\n%s", diff)
	}
}

// closeWrite closes the sending side of the connection.
func (c *client) closeWrite() {
	c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// say is a command that returns its value.
func say() Command {
	return Method("say", "", func(_ context.Context, s string) (string, error) { return s, nil })
}

// waitCommand is a command that prints "waiting" and returns when its context ends.
func waitCommand() Command {
	return Command{Name: "wait", Role: Viewer, Run: func(ctx context.Context, c *Call) error {
		fmt.Fprintln(c.Out, "waiting")
		<-ctx.Done()
		return ctx.Err()
	}}
}
