package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goranch/internal/console"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

// serveShell runs the real shell on a Unix socket, and returns its address.
func serveShell(t *testing.T, opts shell.Options) string {
	t.Helper()
	s, err := shell.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	addr := "unix:" + filepath.Join(t.TempDir(), "srv.sock")
	l, err := new(ranch.Server).StartListener("s", transport.TCP{}, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return addr
}

// What the shell sends is what the client understands.
func TestShell(t *testing.T) {
	addr := serveShell(t, shell.Options{Version: "v1.2.3", Root: t.TempDir(), Commands: []shell.Command{
		{Name: "table", Help: "A table.", Run: func(_ context.Context, c *shell.Call) error {
			c.Return(shell.Table{Columns: []shell.Column{{Key: "sent", Title: "SENT", Right: true}, {Key: "age", Title: "AGE"}}, Total: 9,
				Rows: [][]any{{shell.Bytes(1258291), 63 * time.Second}}})
			return nil
		}},
		{Name: "restart", Help: "Not for everybody.", Role: shell.Operator, Run: func(context.Context, *shell.Call) error { return nil }},
		{Name: "slow", Help: "Until cancelled.", Run: func(ctx context.Context, c *shell.Call) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}},
	}})
	for _, x := range []struct {
		args string
		code int
		says string
	}{
		{"version", 0, "v1.2.3\n"},
		{"echo a  b", 0, "a b\n"},
		{"-o json echo a", 0, "\"a\"\n"},
		{"table", 0, "   SENT  AGE\n1.2 MiB  1m3s\n(1 of 9)\n"},
		{"-o json table", 0, `[{"sent":1258291,"age":63}]` + "\n"},
		{"help status", 0, "status"},
		{"help", 0, "COMMAND"},
		{"status", 0, ":"},
		{"connections", 0, "REMOTE"},
		{"versio", 2, "did you mean version?"},
		{"help a b c", 2, "help"},
		{"restart", 4, "error: "},
		{"auth x", 4, "error: "},
		{"--timeout 20ms slow", 1, "--timeout"},
	} {
		t.Run(x.args, func(t *testing.T) {
			got := ctl(t, "", nil, append([]string{"-c", addr}, strings.Fields(x.args)...)...)
			if got.Code != x.code || !strings.Contains(got.Out+got.Err, x.says) {
				t.Errorf("want code %d and %q, got %+v", x.code, x.says, got)
			}
			t.Logf("%s%s", got.Out, got.Err)
		})
	}
}

// A guest may do little before the token is given.
func TestShellToken(t *testing.T) {
	addr := serveShell(t, shell.Options{
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) { return shell.User{Name: "guest"}, nil },
		Token: func(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
			if token != "good" {
				return shell.User{}, errors.New("no such token")
			}
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		},
	})
	for token, code := range map[string]int{"good": exitInOrder, "bad": exitDenied} {
		t.Setenv("RANCHCTL_TOKEN", token)
		if got := ctl(t, "", nil, "-c", addr, "whoami"); got.Code != code || code == 0 && (!strings.Contains(got.Out, "ops") || strings.Contains(got.Out, "\nyou")) {
			t.Errorf("%s: %+v", token, got)
		} else {
			t.Logf("%+v", got)
		}
	}
}

// The session goes on over a new connection, and what was lost is not repeated.
func TestShellReconnect(t *testing.T) {
	addr := serveShell(t, shell.Options{Commands: []shell.Command{
		{Name: "slow", Help: "Until cancelled.", Run: func(ctx context.Context, c *shell.Call) error {
			fmt.Fprintln(c.Out, "begun")
			<-ctx.Done()
			return context.Cause(ctx)
		}},
	}})
	to, err := console.ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	var current atomic.Pointer[net.Conn]
	dial := to.Dialer(nil)
	begun := make(chan struct{}, 1)
	screen := &console.Screen{Out: writerFunc(func(p []byte) {
		if strings.Contains(string(p), "begun") {
			begun <- struct{}{}
		}
	})}
	c, err := console.Connect(t.Context(), console.ClientOptions{Show: screen, Reconnect: true, Dial: func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		current.Store(&nc)
		return nc, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session := c.Session()
	if _, err := c.Do(t.Context(), "set colour green"); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		(*current.Load()).Close()
	}()
	if _, err := c.Do(t.Context(), "slow"); !errors.Is(err, console.ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	// The command goes on in the session, so others wait for its end.
	if _, err := c.Do(t.Context(), "cancel"); err != nil {
		t.Error(err)
	}
	a, err := c.Do(t.Context(), "get colour")
	if err != nil || !strings.Contains(string(a.Result), "green") {
		t.Errorf("%+v, %v", a, err)
	}
	if c.Session() != session {
		t.Errorf("session %s, then %s", session, c.Session())
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
