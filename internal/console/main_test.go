package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer serves a shell over the in-memory transport.
type testServer struct {
	t     *testing.T
	mem   transport.Mem
	l     *ranch.Listener
	shell *shell.Shell
}

func newTestServer(t *testing.T, opts shell.Options) *testServer {
	t.Helper()
	s := &testServer{t: t}
	s.start(opts)
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) start(opts shell.Options) {
	s.t.Helper()
	opts.Commands = append(opts.Commands, commands...)
	var err error
	if s.shell, err = shell.New(opts); err != nil {
		s.t.Fatal(err)
	}
	s.l = listen(s.t, &s.mem, s.shell)
}

func listen(t *testing.T, mem *transport.Mem, p protocol.Protocol) *ranch.Listener {
	t.Helper()
	l, err := new(ranch.Server).StartListener("shell", mem, ranch.Options{Addr: "shell", Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *testServer) stop() {
	s.l.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.shell.Close(ctx); err != nil {
		s.t.Errorf("close the shell: got %v, want no error", err)
	}
}

// terminal is a terminal on which a console runs.
type terminal struct {
	t    *testing.T
	keys *io.PipeWriter
	done chan struct{} // closed when Run has returned
	err  error         // of Run

	mu  sync.Mutex
	out bytes.Buffer
}

func (tt *terminal) Write(p []byte) (int, error) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return tt.out.Write(p)
}

// newTerminal runs a console in a bubble of synctest.
func newTerminal(t *testing.T, mem *transport.Mem, opts Options) *terminal {
	t.Helper()
	r, w := io.Pipe()
	tt := &terminal{t: t, keys: w, done: make(chan struct{})}
	opts.In, opts.Out = r, tt
	opts.Client.Transport, opts.Client.Addr = mem, "shell"
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(tt.done)
		tt.err = Run(ctx, opts)
	}()
	t.Cleanup(func() {
		cancel()
		w.Close()
		<-tt.done
	})
	return tt
}

// screen returns what was written since the last call, without carriage returns.
func (tt *terminal) screen() string {
	synctest.Wait()
	tt.mu.Lock()
	defer tt.mu.Unlock()
	defer tt.out.Reset()
	return strings.ReplaceAll(tt.out.String(), "\r", "")
}

// typeKeys types keys and returns what was written then.
func (tt *terminal) typeKeys(keys string) string {
	tt.t.Helper()
	if keys != "" { // an empty write to a pipe waits for a reader
		if _, err := io.WriteString(tt.keys, keys); err != nil {
			tt.t.Fatal(err)
		}
	}
	return tt.screen()
}

// expect types keys and expects text on the screen.
func (tt *terminal) expect(keys string, want ...string) {
	tt.t.Helper()
	got := tt.typeKeys(keys)
	for _, w := range want {
		if !strings.Contains(got, w) {
			tt.t.Errorf("keys %q: got %q, want %q in it", keys, got, w)
		}
	}
}

// expectEnd types keys and expects that Run returns an error that is want.
func (tt *terminal) expectEnd(keys string, want error) {
	tt.t.Helper()
	tt.typeKeys(keys)
	select {
	case <-tt.done:
		if !errors.Is(tt.err, want) {
			tt.t.Errorf("Run: got %v, want %v", tt.err, want)
		}
	default:
		tt.t.Error("Run: got no return, want one")
	}
}

// commands are those of test servers beside the built-in ones.
var commands = []shell.Command{
	{Name: "rooms", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		c.Return(shell.Table{Columns: []shell.Column{{Key: "room", Title: "ROOM"}, {Key: "sent", Title: "SENT", Right: true}}, Rows: [][]any{{"lobby", shell.Bytes(1536)}}})
		return nil
	}},
	{Name: "partial", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		io.WriteString(c.Out, "no line feed")
		return nil
	}},
	{Name: "slow", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
		fmt.Fprintln(c.Out, "begun")
		<-ctx.Done()
		return context.Cause(ctx)
	}},
	{Name: "stubborn", Role: shell.Viewer, Run: func(context.Context, *shell.Call) error {
		time.Sleep(time.Minute) // ignores its context
		return nil
	}},
	{Name: "top", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
		for n := range 2 {
			c.Frame(shell.Table{Columns: []shell.Column{{Key: "n", Title: "FRAME", Right: true}}, Rows: [][]any{{n + 1}}})
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}},
	{Name: "drop", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error { return c.Conn().Close() }},
	{Name: "later", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
		time.Sleep(time.Second)
		io.WriteString(c.Out, "late output")
		time.Sleep(time.Second)
		return nil
	}},
}

// testClient returns a client beside the console's.
func testClient(t *testing.T, mem *transport.Mem, opts client.Options) *client.Client {
	t.Helper()
	opts.Transport, opts.Addr = mem, "shell"
	c, err := client.Dial(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
