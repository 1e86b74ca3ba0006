package client_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const addr = "shell"

// testServer serves a shell, or another protocol in its place, over the in-memory transport.
type testServer struct {
	t     testing.TB
	mem   transport.Mem
	l     *ranch.Listener
	shell *shell.Shell // nil while stopped

	mu   sync.Mutex
	last net.Conn // the last connection that a client has dialed
}

func newTestServer(t testing.TB, opts shell.Options) *testServer {
	t.Helper()
	s := &testServer{t: t}
	s.start(opts)
	t.Cleanup(s.stop)
	return s
}

// newScriptedServer serves connections with p, which may misbehave.
func newScriptedServer(t testing.TB, p protocol.Func) *testServer {
	t.Helper()
	s := &testServer{t: t}
	s.listen(p)
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) start(opts shell.Options) {
	s.t.Helper()
	opts.Commands = append(opts.Commands, commands...)
	sh, err := shell.New(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.shell = sh
	s.listen(sh)
}

func (s *testServer) listen(p protocol.Protocol) {
	s.t.Helper()
	var err error
	s.l, err = new(ranch.Server).StartListener("shell", &s.mem, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *testServer) stop() {
	s.l.Stop()
	if s.shell == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.shell.Close(ctx); err != nil {
		s.t.Errorf("close the shell: got %v, want no error", err)
	}
	s.shell = nil
}

// Name, Secure, Listen, Dial and Handshake make the server a transport that remembers the last
// connection.
func (s *testServer) Name() string { return s.mem.Name() }
func (s *testServer) Secure() bool { return false }
func (s *testServer) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return s.mem.Listen(ctx, addr)
}
func (s *testServer) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) { return nc, nil }
func (s *testServer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := s.mem.Dial(ctx, addr)
	if err == nil {
		s.mu.Lock()
		s.last = nc
		s.mu.Unlock()
	}
	return nc, err
}

// disconnect closes the last connection.
func (s *testServer) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Close()
}

// recorder records the callbacks of a client.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

// take returns the events since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// record sets the callbacks. Consecutive disconnects are recorded once.
func record(o *client.Options) *recorder {
	r := &recorder{}
	o.OnConnect = func(resumed bool) { r.add("connected, resumed %v", resumed) }
	o.OnDisconnect = func(error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.events); n == 0 || r.events[n-1] != "disconnected" {
			r.events = append(r.events, "disconnected")
		}
	}
	o.OnOutput = func(p []byte) { r.add("output %q", p) }
	o.OnFrame = func(a *client.Answer) { r.add("frame %s", a.Result) }
	o.OnOutputLost = func(n int64) { r.add("lost %d", n) }
	o.OnShutdown = func() { r.add("shutdown") }
	return r
}

func (s *testServer) dial(opts client.Options) (*client.Client, *recorder) {
	s.t.Helper()
	r := record(&opts)
	if opts.Transport == nil {
		opts.Transport = s
	}
	opts.Addr = addr
	c, err := client.Dial(context.Background(), opts)
	if err != nil {
		s.t.Fatalf("Dial: got %v, want no error", err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c, r
}

// result runs a command that must succeed.
func result(t testing.TB, c *client.Client, line string) string {
	t.Helper()
	a, err := c.Call(t.Context(), line)
	if err != nil {
		t.Fatalf("Call(%q): got %v, want no error", line, err)
	}
	return string(a.Result)
}

func equal(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// commands are those of test servers beside the built-in ones.
var commands = []shell.Command{
	{Name: "table", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(shell.Table{
			Columns: []shell.Column{{Key: "id", Title: "ID", Right: true}, {Key: "sent", Wide: true}, {Key: "age"}, {Key: "since"}},
			Rows:    [][]any{{1, shell.Bytes(1536), 90 * time.Second, time.Unix(0, 0).UTC()}},
			Total:   7,
		})
		return nil
	}},
	{Name: "fields", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(shell.Fields{{Key: "name", Title: "Name", Value: "x"}, {Key: "up", Value: time.Second}})
		return nil
	}},
	{Name: "nothing", Role: shell.Viewer, Run: func(context.Context, *shell.Call) error { return nil }},
	{Name: "args", Role: shell.Viewer, MaxArgs: -1, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(append([]string{}, c.Args...))
		return nil
	}},
	{Name: "stream", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		io.WriteString(c.Out, "one\n")
		io.WriteString(c.Out, "\xff\n")
		c.Frame([]int{1})
		c.Frame([]int{2})
		c.Return("done")
		return nil
	}},
	{Name: "slow", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
		fmt.Fprintln(c.Out, "begun")
		<-ctx.Done()
		return context.Cause(ctx)
	}},
	{Name: "later", Role: shell.Viewer, MinArgs: 1, MaxArgs: 1, Run: func(_ context.Context, c *shell.Call) error {
		d, err := time.ParseDuration(c.Args[0])
		time.Sleep(d)
		fmt.Fprintln(c.Out, "after", d)
		return err
	}},
	{Name: "flood", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		time.Sleep(time.Second)
		for range 30 {
			c.Out.Write(make([]byte, 100))
		}
		return nil
	}},
	{Name: "fail", Role: shell.Viewer, Run: func(context.Context, *shell.Call) error { return fmt.Errorf("it is broken") }},
	{Name: "panic", Role: shell.Viewer, Run: func(context.Context, *shell.Call) error { panic("test") }},
	{Name: "restart", Role: shell.Operator, Run: func(context.Context, *shell.Call) error { return nil }},
}
