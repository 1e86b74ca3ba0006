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

// timeout limits each wait of a test.
const timeout = time.Minute

var discardLogger = slog.New(slog.DiscardHandler)

// testServer is a server with the listeners "echo" and "shell", the latter with the commands of
// this package.
type testServer struct {
	t      testing.TB
	server *ranch.Server
	mem    *transport.Mem

	traceQueue func() func() int // of admin.NewForTest

	mu    sync.Mutex
	audit []shell.AuditEntry
}

func newTestServer(t testing.TB, o admin.Options) *testServer {
	t.Helper()
	s := &testServer{t: t, server: new(ranch.Server), mem: new(transport.Mem)}
	o.Server = s.server
	s.start("echo", echo.Protocol{})
	var commands []shell.Command
	commands, s.traceQueue = admin.NewForTest(o)
	sh, err := shell.New(shell.Options{
		Commands: commands, Version: "version of the shell",
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) {
			return shell.User{Name: "alice", Role: shell.Operator}, nil
		},
		Token: func(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
			return shell.User{Name: token, Role: map[string]shell.Role{"viewer": shell.Viewer}[token]}, nil
		},
		Audit: func(e shell.AuditEntry) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.audit = append(s.audit, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := sh.Close(ctx); err != nil {
			t.Errorf("close the shell: got %v, want nil", err)
		}
	})
	s.start("shell", sh)
	return s
}

// start starts a listener whose address is its name, and stops it at the end of the test.
func (s *testServer) start(name string, p protocol.Protocol) {
	s.t.Helper()
	_, err := s.server.StartListener(name, s.mem, ranch.Options{Addr: name, Logger: discardLogger}, p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.server.Drain(ctx, name) // fails if the test has stopped it
	})
}

// listener returns a listener by name.
func (s *testServer) listener(name string) *ranch.Listener {
	s.t.Helper()
	l, err := s.server.Listener(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// listenerNames returns the names of all listeners.
func (s *testServer) listenerNames() (names []string) {
	for _, l := range s.server.Listeners() {
		names = append(names, l.Ref())
	}
	return names
}

// connections returns the live connections of a listener.
func (s *testServer) connections(ref string) []conns.Info {
	s.t.Helper()
	return s.listener(ref).Connections()
}

// dial connects to a listener.
func (s *testServer) dial(name string) net.Conn {
	s.t.Helper()
	nc, err := s.mem.Dial(context.Background(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(timeout))
	return nc
}

// echoConnection opens a connection to "echo", sends n bytes, at least 1, receives them, and
// returns the id of the connection.
func (s *testServer) echoConnection(n int) uint64 {
	s.t.Helper()
	before := s.connections("echo")
	nc := s.dial("echo")
	roundTrip(s.t, nc, strings.Repeat("x", max(n, 1)))
	after := s.connections("echo")
	if len(after) != len(before)+1 {
		s.t.Fatalf("connections: got %d, want %d", len(after), len(before)+1)
	}
	id := after[len(after)-1].ID
	s.waitFor("the counter of written bytes", func() bool {
		found, _ := s.listener("echo").Select(conns.Query{ID: id})
		return len(found) > 0 && found[0].Stats.BytesWritten == uint64(max(n, 1))
	})
	return id
}

// idleConnections opens n connections to "echo" that send nothing.
func (s *testServer) idleConnections(n int) {
	s.t.Helper()
	l := s.listener("echo")
	l.SetMaxConnections(ranch.Unlimited)
	n += l.Info().AllConnections
	for range n - l.Info().AllConnections {
		nc, err := s.mem.Dial(context.Background(), "echo")
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { nc.Close() })
	}
	s.waitFor("all connections to be accepted", func() bool { return l.Info().AllConnections == n })
}

// roundTrip sends text to an echo server and receives as many bytes.
func roundTrip(t testing.TB, nc net.Conn, text string) {
	t.Helper()
	go io.WriteString(nc, text)
	if _, err := io.ReadFull(nc, make([]byte, len(text))); err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) waitFor(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(timeout); !ok(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("timeout after %v, want %s", timeout, what)
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

func (s *testServer) client() *client {
	s.t.Helper()
	c := &client{Conn: s.dial("shell"), t: s.t}
	c.r = bufio.NewReader(c)
	c.line() // the session id
	return c
}

// jsonClient returns a client whose answers are in JSON.
func (s *testServer) jsonClient() *client {
	s.t.Helper()
	c := s.client()
	if a := c.json("format json"); a.Error != nil {
		s.t.Fatal(a.Error)
	}
	return c
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %q and error %v, want a line", s, err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (c *client) send(request string) {
	c.t.Helper()
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// cancel sends Ctrl-C.
func (c *client) cancel() {
	c.t.Helper()
	if _, err := io.WriteString(c, "\x03"); err != nil {
		c.t.Fatal(err)
	}
}

// endMarker is echoed after an answer in text, which has no other end.
const endMarker = "--- end of the answer ---"

// text sends a request and returns its answer in text.
func (c *client) text(request string) string {
	c.t.Helper()
	c.send(request + "\necho:" + endMarker)
	var b strings.Builder
	for {
		s := c.line()
		if s == endMarker {
			return b.String()
		}
		b.WriteString(s + "\n")
	}
}

// answer is an answer in JSON.
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

// json sends a request and returns its answer in JSON.
func (c *client) json(request string) answer {
	c.t.Helper()
	c.send(request)
	return c.answer()
}

// answer reads the next answer in JSON.
func (c *client) answer() (a answer) {
	c.t.Helper()
	line := c.line()
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		c.t.Fatalf("got %q, want JSON: %v", line, err)
	}
	return a
}

// lastAnswer skips output and returns the answer that ends the request.
func (c *client) lastAnswer() answer {
	c.t.Helper()
	for {
		if a := c.answer(); a.Out == "" {
			return a
		}
	}
}

// rows decodes a table.
func (a answer) rows(t testing.TB) (rows []map[string]any) {
	t.Helper()
	a.decode(t, &rows)
	return rows
}

// fields decodes fields.
func (a answer) fields(t testing.TB) (f map[string]any) {
	t.Helper()
	a.decode(t, &f)
	return f
}

func (a answer) decode(t testing.TB, v any) {
	t.Helper()
	if a.Error != nil {
		t.Fatalf("got error %+v, want a result", *a.Error)
	}
	if err := json.Unmarshal(a.Result, v); err != nil {
		t.Fatalf("got %s, want %T: %v", a.Result, v, err)
	}
}
