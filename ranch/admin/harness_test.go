package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

// patience bounds everything that a test waits for.
const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// house is a server with a listener "echo" and one for the shell, "shell".
type house struct {
	t      testing.TB
	server *ranch.Server
	mem    *transport.Mem

	pending func() func() int

	mu    sync.Mutex
	audit []shell.AuditEntry
}

func open(t testing.TB, o admin.Options) *house {
	t.Helper()
	h := &house{t: t, server: new(ranch.Server), mem: new(transport.Mem)}
	o.Server = h.server
	h.start("echo", echo.Protocol{})
	var commands []shell.Command
	commands, h.pending = admin.New(o)
	s, err := shell.New(shell.Options{
		Commands: commands, Version: "shell's",
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) {
			return shell.User{Name: "alice", Role: shell.Operator}, nil
		},
		Token: func(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
			return shell.User{Name: token, Role: map[string]shell.Role{"viewer": shell.Viewer}[token]}, nil
		},
		Audit: func(e shell.AuditEntry) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.audit = append(h.audit, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing the shell: %v", err)
		}
	})
	h.start("shell", s)
	return h
}

// start starts a listener of that name and address. It is stopped at the end of the test, at once.
func (h *house) start(name string, p protocol.Protocol) {
	h.t.Helper()
	_, err := h.server.StartListener(name, h.mem, ranch.Options{Addr: name, Logger: quiet}, p)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		h.server.Drain(ctx, name) // unless the test has done so
	})
}

// dial connects to a listener.
func (h *house) dial(name string) net.Conn {
	h.t.Helper()
	nc, err := h.mem.Dial(context.Background(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(patience))
	return nc
}

// connections returns the live connections of a listener.
func (h *house) connections(ref string) []conns.Info {
	h.t.Helper()
	l, err := h.server.Listener(ref)
	if err != nil {
		h.t.Fatal(err)
	}
	return l.Connections()
}

// listeners returns the names of all listeners.
func (h *house) listeners() (names []string) {
	for _, l := range h.server.Listeners() {
		names = append(names, l.Ref())
	}
	return names
}

// echoed makes a connection that has carried n bytes in each direction, and returns its id.
func (h *house) echoed(n int) uint64 {
	h.t.Helper()
	before := h.connections("echo")
	nc := h.dial("echo")
	exchange(h.t, nc, strings.Repeat("x", max(n, 1)))
	after := h.connections("echo")
	if len(after) != len(before)+1 {
		h.t.Fatalf("%d connections after %d", len(after), len(before))
	}
	id := after[len(after)-1].ID
	h.eventually("the answer is counted", func() bool {
		l, _ := h.server.Listener("echo")
		i, _ := l.Connection(id)
		return i.Stats.BytesWritten == uint64(max(n, 1))
	})
	return id
}

func exchange(t testing.TB, nc net.Conn, s string) {
	t.Helper()
	go io.WriteString(nc, s)
	if _, err := io.ReadFull(nc, make([]byte, len(s))); err != nil {
		t.Fatal(err)
	}
}

func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			h.t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(time.Millisecond)
	}
}

// client is a connection to the shell.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (h *house) client() *client {
	h.t.Helper()
	c := &client{Conn: h.dial("shell"), t: h.t}
	c.r = bufio.NewReader(c)
	c.line() // the identification
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

func (c *client) send(request string) {
	c.t.Helper()
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// mark follows an answer in text, whose end nothing else tells.
const mark = "--- the end ---"

// text asks, and returns the answer in text.
func (c *client) text(request string) string {
	c.t.Helper()
	c.send(request + "\necho:" + mark)
	var b strings.Builder
	for {
		s := c.line()
		if s == mark {
			return b.String()
		}
		b.WriteString(s + "\n")
	}
}

// answer is one in JSON.
type answer struct {
	ID      int
	Frame   bool
	Result  json.RawMessage
	Out     string
	Columns []map[string]any
	Fields  []map[string]any
	Total   int
	Error   *struct{ Message, Suggestion, Code string }
}

// json asks in JSON, and returns the answer.
func (c *client) json(request string) answer {
	c.t.Helper()
	c.send(request)
	return c.answer()
}

func (c *client) answer() (a answer) {
	c.t.Helper()
	line := c.line()
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		c.t.Fatalf("%q: %v", line, err)
	}
	return a
}

// asJSON is a client whose answers are in JSON.
func (h *house) asJSON() *client {
	h.t.Helper()
	c := h.client()
	if a := c.json("format json"); a.Error != nil {
		h.t.Fatal(a.Error)
	}
	return c
}

// rows decodes a table.
func (a answer) rows(t testing.TB) (rows []map[string]any) {
	t.Helper()
	if a.Error != nil {
		t.Fatalf("%+v", *a.Error)
	}
	if err := json.Unmarshal(a.Result, &rows); err != nil {
		t.Fatalf("%s: %v", a.Result, err)
	}
	return rows
}

// fields decodes fields.
func (a answer) fields(t testing.TB) (f map[string]any) {
	t.Helper()
	if a.Error != nil {
		t.Fatalf("%+v", *a.Error)
	}
	if err := json.Unmarshal(a.Result, &f); err != nil {
		t.Fatalf("%s: %v", a.Result, err)
	}
	return f
}
