package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

func TestOneCommand(t *testing.T) {
	s := newTestServer(t, shell.Options{Version: "v1.2.3"})
	for _, x := range []struct {
		args string
		want result
	}{
		{"status", result{0, "Name:    a server\nUptime:  1m3s\nSent:    1.2 MiB\n", ""}},
		{"-o json status", result{0, `{"name":"a server","uptime":63.4,"bytes":1258291}` + "\n", ""}},
		{"connections --sort bytes --limit 5", result{0, "" +
			"ID  PEER                    SENT    AGE\n" +
			" 1  10.0.0.1:4000        1.2 MiB   1m3s\n" +
			" 2  [2001:db8::1]:50000    512 B  500ms\n" +
			"30  unix                     0 B   1d1h\n" +
			"(3 of 120)\n", ""}},
		{"version", result{0, "v1.2.3\n", ""}},
		{"echo --help -o json", result{0, "--help -o json\n", ""}},
		{"-- echo --version", result{0, "--version\n", ""}},
		{"echo:a b", result{0, "a b\n", ""}},
		{"stream", result{0, "one\ntwo\nthree\n", ""}},
		{"-o json stream", result{0, "null\n", "one\ntwo\nthree"}},
		{"once", result{0, "FRAME\n    1\n\nFRAME\n    2\n", ""}},
		{"-o json once", result{0, `[{"n":1}]` + "\n" + `[{"n":2}]` + "\n", ""}},
		{"fail", result{1, "", "error: it is broken\n"}},
		{"-o json fail", result{1, "", "error: it is broken\n"}},
		{"versio", result{2, "", "error: unknown command \"versio\"; did you mean version?\n"}},
		{"help a b c", result{2, "", "error: help takes at most 1 argument: help [<command>]\n"}},
		{"format:text", result{2, "", "error: format is not available: use --output\n"}},
		{"reconnect:1", result{2, "", "error: reconnect is reserved for the client\n"}},
		{"drop", result{3, "", "error: the connection has ended: EOF; the command may have been executed\n"}},
		{"restart", result{4, "", "error: restart requires the role operator; your role is viewer\n"}},
		{"auth x", result{4, "", "error: this server accepts no tokens\n"}},
		{"--timeout 20ms slow", result{1, "", "error: the command exceeded --timeout and was cancelled\n"}},
	} {
		t.Run(x.args, func(t *testing.T) {
			got := runCtl(t, "", nil, append([]string{"-c", s.addr}, strings.Fields(x.args)...)...)
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// The built-in help is long.
	if got := runCtl(t, "", nil, "-c", s.addr, "help"); got.Code != 0 || !strings.Contains(got.Out, "COMMAND") || strings.Contains(got.Out, "restart") {
		t.Errorf("help: got %s, want a table of the commands of a viewer", got)
	}
}

func TestCommandLine(t *testing.T) {
	for _, x := range []struct {
		words []string
		want  string
	}{
		{[]string{"echo", "a", "", "b c", `"\`, "it's"}, `echo a "" "b c" "\"\\" "it's"`},
		{[]string{"method:{", `"a": 1}`}, `method:{ "a": 1}`},
	} {
		if got := commandLine(x.words); got != x.want {
			t.Errorf("%q: got %s, want %s", x.words, got, x.want)
		}
	}
}

func TestScript(t *testing.T) {
	const script = "# a comment\necho one\n\nfail\n  echo two\ndrop\necho three\n"
	s := newTestServer(t, shell.Options{})
	stopped := runCtl(t, script, nil, "-c", s.addr)
	if diff := cmp.Diff(result{1, "one\n", "error: line 4: it is broken\n"}, stopped); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// With --keep-going it reconnects to the session.
	got := runCtl(t, "set colour green\n"+script+"get colour\n", nil, "-c", s.addr, "--keep-going")
	if got.Code != 1 || !strings.HasSuffix(got.Out, "one\ntwo\nthree\ngreen\n") ||
		!strings.Contains(got.Err, "connection lost; reconnected after 0.") || !strings.Contains(got.Err, "error: line 7: the connection has ended") {
		t.Errorf("with --keep-going: got %s, want all answers and two errors", got)
	}
	// Without it, it does not.
	got = runCtl(t, "drop\necho three\n", nil, "-c", s.addr)
	if got.Code != exitNoConnection || got.Out != "" || strings.Contains(got.Err, "reconnected") {
		t.Errorf("after a broken connection: got %s, want code %d and nothing of the next command", got, exitNoConnection)
	}
}

func TestToken(t *testing.T) {
	s := newTestServer(t, requireToken("s3cret"))
	file := t.TempDir() + "/token"
	os.WriteFile(file, []byte("s3cret\nanother line\n"), 0o600)
	if got := runCtl(t, "", nil, "-c", s.addr, "--token-file", file, "echo", "in"); got.Out != "in\n" {
		t.Errorf("token from a file: got %s, want the answer", got)
	}
	t.Setenv("RANCHCTL_TOKEN", "s3cret")
	if got := runCtl(t, "", nil, "-c", s.addr, "whoami"); got.Code != exitOK || !strings.Contains(got.Out, "ops") {
		t.Errorf("token from the environment: got %s, want the user ops", got)
	}
	t.Setenv("RANCHCTL_TOKEN", "wrong")
	if got := runCtl(t, "", nil, "-c", s.addr, "echo", "in"); got.Code != exitDenied || strings.Contains(got.Err, "wrong") {
		t.Errorf("wrong token: got %s, want code %d without the token", got, exitDenied)
	}
}

// TestInterrupt checks that the first interrupt cancels the command, whose answer is waited for,
// and that the second stops waiting.
func TestInterrupt(t *testing.T) {
	s := newTestServer(t, shell.Options{})
	interrupts := make(chan os.Signal, 2)
	go func() {
		<-s.running
		interrupts <- os.Interrupt
	}()
	if diff := cmp.Diff(result{1, "", "error: cancelled\n"}, runCtl(t, "", interrupts, "-c", s.addr, "slow")); diff != "" {
		t.Errorf("one interrupt (-want +got):\n%s", diff)
	}
	go func() {
		<-s.running
		interrupts <- os.Interrupt
		interrupts <- os.Interrupt
	}()
	if diff := cmp.Diff(result{exitInterrupted, "", "error: interrupted\n"}, runCtl(t, "", interrupts, "-c", s.addr, "stubborn")); diff != "" {
		t.Errorf("two interrupts (-want +got):\n%s", diff)
	}
	if n := len(s.shell.Sessions().List()); n != 0 {
		t.Errorf("sessions after ranchctl has ended: got %d, want none", n)
	}
}

// TestLimitOutage checks that ranchctl stops reconnecting after maxOutage without a connection.
func TestLimitOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		o := client.Options{OnConnect: func(bool) {}, OnDisconnect: func(error) {}}
		limitOutage(&o, cancel)
		refused := errors.New("connection refused")
		for range 3 {
			o.OnDisconnect(io.EOF)
			time.Sleep(maxOutage - 1)
			o.OnDisconnect(refused)
			o.OnConnect(true)
		}
		if err := context.Cause(ctx); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		o.OnDisconnect(io.EOF)
		time.Sleep(maxOutage)
		o.OnDisconnect(refused)
		if err := context.Cause(ctx); !errors.Is(err, refused) || exitCode(err) != exitNoConnection {
			t.Errorf("got %v, code %d, want the last error and code %d", err, exitCode(err), exitNoConnection)
		}
	})
}

func TestEndOfContext(t *testing.T) {
	s := newTestServer(t, shell.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.running
		cancel()
	}()
	if code := run(ctx, []string{"-c", s.addr, "slow"}, streams{strings.NewReader(""), io.Discard, io.Discard}, nil); code != exitFailed {
		t.Errorf("got code %d, want %d", code, exitFailed)
	}
}
