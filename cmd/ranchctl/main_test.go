package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // the settings of the user who runs the tests
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RANCHCTL_") || name == "NO_COLOR" {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// testServer serves a shell on a Unix socket until the test ends.
type testServer struct {
	t       *testing.T
	opts    shell.Options
	addr    string
	running chan string // gets the name of each command that has begun to wait for its cancellation
	shell   *shell.Shell
	l       *ranch.Listener
}

func newTestServer(t *testing.T, opts shell.Options) *testServer {
	t.Helper()
	s := &testServer{t: t, addr: "unix:" + filepath.Join(t.TempDir(), "srv.sock"), running: make(chan string, 10)}
	opts.Commands = append(opts.Commands, s.commands()...)
	s.opts = opts
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) start() {
	s.t.Helper()
	var err error
	if s.shell, err = shell.New(s.opts); err != nil {
		s.t.Fatal(err)
	}
	s.l, err = new(ranch.Server).StartListener("s", transport.TCP{}, ranch.Options{Addr: s.addr, Logger: slog.New(slog.DiscardHandler)}, s.shell)
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *testServer) stop() {
	s.l.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.shell.Close(ctx); err != nil {
		s.t.Errorf("close the shell: got %v, want no error", err)
	}
}

// untilCancelled waits for the cancellation of a command.
func (s *testServer) untilCancelled(name string, ctx context.Context) error {
	select {
	case s.running <- name:
	default:
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// commands returns commands with fixed answers. Some replace built-in ones.
func (s *testServer) commands() []shell.Command {
	frame := func(n int) shell.Table {
		return shell.Table{Columns: []shell.Column{{Key: "n", Title: "FRAME", Right: true}}, Rows: [][]any{{n}}}
	}
	return []shell.Command{
		{Name: "status", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			c.Return(shell.Fields{{Key: "name", Title: "Name", Value: "a server"}, {Key: "uptime", Title: "Uptime", Value: 63400 * time.Millisecond},
				{Key: "bytes", Title: "Sent", Value: shell.Bytes(1258291)}})
			return nil
		}},
		{Name: "connections", Role: shell.Viewer, Flags: []shell.Flag{{Name: "sort", Value: "KEY"}, {Name: "limit", Value: "N"}}, Run: func(_ context.Context, c *shell.Call) error {
			c.Return(shell.Table{
				Columns: []shell.Column{{Key: "id", Title: "ID", Right: true}, {Key: "peer", Title: "PEER", Wide: true}, {Key: "sent", Title: "SENT", Right: true}, {Key: "age", Title: "AGE", Right: true}},
				Rows: [][]any{{1, "10.0.0.1:4000", shell.Bytes(1258291), 63400 * time.Millisecond}, {2, "[2001:db8::1]:50000", shell.Bytes(512), 500 * time.Millisecond},
					{30, "unix", shell.Bytes(0), 25*time.Hour + time.Minute}},
				Total: 120,
			})
			return nil
		}},
		{Name: "stream", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			for _, part := range []string{"one\n", "two\n", "three"} {
				io.WriteString(c.Out, part)
			}
			return nil
		}},
		{Name: "once", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			c.Frame(frame(1))
			return c.Frame(frame(2))
		}},
		{Name: "top", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
			c.Frame(frame(1))
			c.Frame(frame(2))
			return s.untilCancelled("top", ctx)
		}},
		{Name: "slow", Role: shell.Viewer, Run: func(ctx context.Context, _ *shell.Call) error { return s.untilCancelled("slow", ctx) }},
		{Name: "stubborn", Role: shell.Viewer, Run: func(ctx context.Context, _ *shell.Call) error {
			err := s.untilCancelled("stubborn", ctx)
			time.Sleep(200 * time.Millisecond)
			return err
		}},
		{Name: "drop", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error { return c.Conn().Close() }},
		{Name: "fail", Role: shell.Viewer, Run: func(context.Context, *shell.Call) error { return errors.New("it is broken") }},
		{Name: "restart", Role: shell.Operator, Run: func(context.Context, *shell.Call) error { return nil }},
	}
}

// requireToken makes clients guests until they present token.
func requireToken(token string) shell.Options {
	return shell.Options{
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) { return shell.User{Name: "guest"}, nil },
		Token: func(_ context.Context, _ *transport.Conn, got string) (shell.User, error) {
			if got != token {
				return shell.User{}, errors.New("the token is not valid")
			}
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		},
	}
}

// result is what ranchctl has written and its exit code.
type result struct {
	Code     int
	Out, Err string
}

func (r result) String() string {
	return fmt.Sprintf("code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
}

// runCtl runs ranchctl in this process.
func runCtl(t *testing.T, stdin string, interrupts <-chan os.Signal, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, streams{strings.NewReader(stdin), &out, &errs}, interrupts)
	return result{code, out.String(), errs.String()}
}
