package shell

import (
	"bufio"
	"context"
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

// house is a shell on the in-memory transport.
type house struct {
	*Shell
	t   testing.TB
	l   *ranch.Listener
	mem *transport.Mem
}

func serve(t testing.TB, opts Options) *house {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Shell: s, t: t, mem: new(transport.Mem)}
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

// client is one connection, and what it was told.
type client struct {
	net.Conn
	t  testing.TB
	r  *bufio.Reader
	id string
}

// dial connects, and takes the identification.
func (h *house) dial() *client {
	h.t.Helper()
	nc, err := h.mem.Dial(context.Background(), "s")
	if err != nil {
		h.t.Fatal(err)
	}
	nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	c := &client{nc, h.t, bufio.NewReader(nc), ""}
	h.t.Cleanup(func() { nc.Close() })
	line := c.line()
	var ok bool
	if c.id, ok = strings.CutPrefix(line, identification); !ok {
		h.t.Fatalf("want the identification first, got %q", line)
	}
	return c
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %q, then %v", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a request and expects these lines.
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

// rest returns everything up to the end.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

func (c *client) endWith(want string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.rest()); diff != "" {
		c.t.Fatalf("(-want +got):\n%s", diff)
	}
}
