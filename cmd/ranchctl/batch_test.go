package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/console/consoletest"
)

// serve runs s on a Unix socket until the test ends, and returns its address.
func serve(t *testing.T, s *consoletest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "srv.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(ln)
	}()
	t.Cleanup(func() {
		ln.Close()
		<-served
		s.Close()
	})
	return "unix:" + path
}

type outcome struct {
	Code     int
	Out, Err string
}

// ctl runs ranchctl in this process.
func ctl(t *testing.T, stdin string, interrupts <-chan os.Signal, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, streams{strings.NewReader(stdin), &out, &errs}, interrupts)
	return outcome{code, out.String(), errs.String()}
}

func TestOneShot(t *testing.T) {
	addr := serve(t, &consoletest.Server{})
	for _, x := range []struct {
		args string
		want outcome
	}{
		{"status", outcome{0, "Name:    a server\nUptime:  1m3s\nSent:    1.2 MiB\n", ""}},
		{"-o json status", outcome{0, `{"uptime":63.4,"bytes":1258291,"name":"a server"}` + "\n", ""}},
		{"connections --sort bytes --limit 5", outcome{0, "" +
			"ID  PEER                    SENT    AGE\n" +
			" 1  10.0.0.1:4000        1.2 MiB   1m3s\n" +
			" 2  [2001:db8::1]:50000    512 B  500ms\n" +
			"30  unix                     0 B   1d1h\n" +
			"(3 of 120)\n", ""}},
		{"echo --help -o json", outcome{0, "--help -o json\n", ""}},
		{"-- echo --version", outcome{0, "--version\n", ""}},
		{"stream", outcome{0, "one\ntwo\nthree\n", ""}},
		{"-o json stream", outcome{0, "null\n", "one\ntwo\nthree"}},
		{"once", outcome{0, "FRAME\n1\n\nFRAME\n2\n", ""}},
		{"-o json once", outcome{0, `[{"n":1}]` + "\n" + `[{"n":2}]` + "\n", ""}},
		{"fail", outcome{1, "", "error: it is broken\n"}},
		{"-o json fail", outcome{1, "", "error: it is broken\n"}},
		{"stat", outcome{2, "", "error: unknown command stat; did you mean status?\n"}},
		{"format:text", outcome{2, "", "error: format is the client's own; see -o\n"}},
		{"drop", outcome{3, "", "error: the connection broke before the answer; the command may have been carried out\n"}},
		{"denied", outcome{4, "", "error: not allowed: denied is for operators\n"}},
		{"--timeout 20ms slow", outcome{1, "", "error: it took longer than --timeout, and was told to end\n"}},
	} {
		t.Run(x.args, func(t *testing.T) {
			got := ctl(t, "", nil, append([]string{"-c", addr}, strings.Fields(x.args)...)...)
			if diff := cmp.Diff(x.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, x := range []struct {
		args string
		code int
		says string
	}{
		{"--help", 0, "Exit codes:"},
		{"--version", 0, "ranchctl "},
		{"completion bash", 0, "complete -F _ranchctl ranchctl"},
		{"completion zsh", 0, "#compdef ranchctl"},
		{"completion fish", 0, "complete -c ranchctl"},
		{"completion tcsh", 2, "bash, zsh and fish"},
		{"--nonsense status", 2, "unknown flag --nonsense"},
		{"-o yaml status", 2, "--output must be one of"},
		{"-c http://x status", 2, "unknown scheme \"http\""},
		{"-c tls://127.0.0.1:1 --ca " + missing + " status", 2, "--ca: open"},
		{"-c tls://127.0.0.1:1 --cert " + missing + " status", 2, "--cert and --key go together"},
		{"-c tcp://127.0.0.1:1 --token-file " + missing + " status", 2, "--token-file: open"},
		{"-c unix:" + missing + " status", 3, "no such file"},
		{"-c tls://127.0.0.1:1 --insecure-skip-verify status", 3, "warning: the server's certificate is not verified"},
	} {
		t.Run(x.args, func(t *testing.T) {
			got := ctl(t, "", nil, strings.Fields(x.args)...)
			if got.Code != x.code || !strings.Contains(got.Out+got.Err, x.says) {
				t.Errorf("want code %d and %q, got %+v", x.code, x.says, got)
			}
		})
	}
}

func TestScript(t *testing.T) {
	const script = "# what this does\necho one\n\nfail\n  echo two\ndrop\necho three\n"
	addr := serve(t, &consoletest.Server{})
	stopped := ctl(t, script, nil, "-c", addr)
	if diff := cmp.Diff(outcome{1, "one\n", "error: line 4: it is broken\n"}, stopped); diff != "" {
		t.Error(diff)
	}
	on := ctl(t, script, nil, "-c", addr, "--keep-going")
	if on.Code != 1 || on.Out != "one\ntwo\nthree\n" || !strings.Contains(on.Err, "connection lost; back after 0.") || !strings.Contains(on.Err, "error: line 6: the connection broke") {
		t.Errorf("with --keep-going: %+v", on)
	}
}

func TestToken(t *testing.T) {
	addr := serve(t, &consoletest.Server{Token: "s3cret"})
	file := filepath.Join(t.TempDir(), "token")
	os.WriteFile(file, []byte("s3cret\nanother line\n"), 0o600)
	if got := ctl(t, "", nil, "-c", addr, "--token-file", file, "echo", "in"); got.Out != "in\n" {
		t.Errorf("%+v", got)
	}
	t.Setenv("RANCHCTL_TOKEN", "s3cret")
	if got := ctl(t, "", nil, "-c", addr, "echo", "in"); got.Out != "in\n" {
		t.Errorf("%+v", got)
	}
	t.Setenv("RANCHCTL_TOKEN", "wrong")
	if got := ctl(t, "", nil, "-c", addr, "echo", "in"); got.Code != exitDenied || strings.Contains(got.Err, "wrong") {
		t.Errorf("%+v", got)
	}
}

// The first interrupt cancels, and the answer is waited for.
func TestInterrupt(t *testing.T) {
	s := &consoletest.Server{}
	addr := serve(t, s)
	interrupts := make(chan os.Signal, 1)
	go func() {
		s.Wait(2)
		interrupts <- os.Interrupt
	}()
	if diff := cmp.Diff(outcome{1, "", "error: cancelled\n"}, ctl(t, "", interrupts, "-c", addr, "slow")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"format:json", "slow", "^C", "quit"}, s.Received()); diff != "" {
		t.Error(diff)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := &consoletest.Server{}
	addr := serve(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		s.Wait(2)
		cancel()
	}()
	if code := run(ctx, []string{"-c", addr, "slow"}, streams{strings.NewReader(""), io.Discard, io.Discard}, nil); code != exitFailed {
		t.Errorf("code %d", code)
	}
}
