package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/transport"
)

// TestCall checks that the client decodes everything that the shell sends.
func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, r := s.dial(client.Options{})
		ctx := t.Context()
		for line, want := range map[string]*client.Answer{
			"echo a  b":  {Result: []byte(`"a  b"`)},
			"echo:<&>\t": {Result: []byte(`"<&>\t"`)},
			"nothing":    {},
			"table": {
				Result: []byte(`[{"id":1,"sent":1536,"age":90,"since":"1970-01-01T00:00:00Z"}]`),
				Columns: []shell.Column{{Key: "id", Title: "ID", Right: true}, {Key: "sent", Wide: true, Kind: shell.KindBytes},
					{Key: "age", Kind: shell.KindDuration}, {Key: "since", Kind: shell.KindTime}},
				Total: 7,
			},
			"fields": {
				Result: []byte(`{"name":"x","up":1}`),
				Fields: []shell.Column{{Key: "name", Title: "Name"}, {Key: "up", Kind: shell.KindDuration}},
			},
		} {
			got, err := c.Call(ctx, line)
			if err != nil {
				t.Errorf("Call(%q): got %v, want no error", line, err)
			}
			equal(t, line, want, got)
		}
		for line, want := range map[string]*shell.Error{
			"fail":    {Message: "it is broken"},
			"tabel":   {Code: shell.CodeUnknown, Message: `unknown command "tabel"`, Suggestion: "table"},
			"restart": {Code: shell.CodeDenied, Message: "restart requires the role operator; your role is viewer"},
			"table x": {Code: shell.CodeUsage, Message: "table takes no arguments"},
		} {
			_, err := c.Call(ctx, line)
			var got *shell.Error
			if !errors.As(err, &got) {
				t.Fatalf("Call(%q): got %v, want a *shell.Error", line, err)
			}
			equal(t, line, want, got)
		}
		r.take()
		equal(t, "result of stream", `"done"`, result(t, c, "stream"))
		equal(t, "callbacks", []string{`output "one\n"`, `output "\xff\n"`, "frame [1]", "frame [2]"}, r.take())
		equal(t, "session", `"`+c.Session()+`"`, result(t, c, "id"))
	})
}

// TestLine checks that the shell parses what Line has quoted into the same arguments.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		for _, args := range [][]string{{}, {"a"}, {""}, {"a b", `"`, `\`, `it's`, `\"'`, "--flag"}, {"\t", "ü", "a:b", "#"}} {
			var got []string
			if err := json.Unmarshal([]byte(result(t, c, client.Line("args", args...))), &got); err != nil {
				t.Fatal(err)
			}
			equal(t, "arguments", args, got)
		}
	})
}

// TestRefusedLine checks that lines which would desynchronize requests and answers are not sent.
func TestRefusedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		for _, line := range []string{"", " \t", "echo a\necho b", "echo \r", "echo \x00", "echo \x03", "echo \xff", "format:text", "  format text", "reconnect:1", "format"} {
			_, err := c.Call(t.Context(), line)
			var e *shell.Error
			if !errors.As(err, &e) || e.Code != shell.CodeUsage {
				t.Errorf("Call(%q): got %v, want a usage error", line, err)
			}
		}
		equal(t, "result", `"still in step"`, result(t, c, "echo still in step"))
		if _, err := c.Call(t.Context(), "echo "+strings.Repeat("x", 2<<20)); err == nil {
			t.Error("a line of 2 MiB: got no error, want one")
		}
	})
}

func TestComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		for line, want := range map[string][]string{"sta": {"stats", "status"}, "format ": {"json", "text"}, "zzz": {}} {
			got, err := c.Complete(t.Context(), line)
			if err != nil {
				t.Errorf("Complete(%q): got %v, want no error", line, err)
			}
			equal(t, line, want, got)
		}
		if _, err := c.Complete(t.Context(), "a\nb"); err == nil {
			t.Error("two lines: got no error, want one")
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		time.AfterFunc(time.Second, func() {
			if !c.Cancel() {
				t.Error("Cancel: got false, want true")
			}
		})
		_, err := c.Call(t.Context(), "slow")
		var e *shell.Error
		if !errors.As(err, &e) || e.Code != shell.CodeCancelled {
			t.Errorf("got %v, want the code %q", err, shell.CodeCancelled)
		}
		c.Cancel() // nothing is running
		equal(t, "result", `"next"`, result(t, c, "echo next"))
		c.Close()
		if c.Cancel() {
			t.Error("Cancel after Close: got true, want false")
		}
	})
}

// TestContext checks that the end of a call's context cancels the command on the server, and that
// the late answer is not taken for that of the next call.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{})
		reason := errors.New("reason")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		began := time.Now()
		if _, err := c.Call(ctx, "slow"); !errors.Is(err, reason) {
			t.Errorf("got %v, want the cause of the context", err)
		}
		equal(t, "result", `"next"`, result(t, c, "echo next"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("got an answer after %v, want 1s", took)
		}
		if _, err := c.Call(ctx, "echo x"); !errors.Is(err, reason) {
			t.Errorf("with a context that has ended: got %v, want its cause", err)
		}
		// A call that waits for another one.
		go c.Call(t.Context(), "slow")
		synctest.Wait()
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		if _, err := c.Call(ctx, "echo x"); !errors.Is(err, reason) {
			t.Errorf("behind another call: got %v, want the cause of the context", err)
		}
		// Completion does not cancel anything.
		if _, err := c.Complete(ctx, "x"); !errors.Is(err, reason) {
			t.Errorf("Complete: got %v, want the cause of the context", err)
		}
	})
}

// TestConcurrentCalls checks that every call gets its own answer, while others are cancelled.
func TestConcurrentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		var c *client.Client
		var err error
		c, err = client.Dial(t.Context(), client.Options{Transport: s, Addr: addr, OnOutput: func(p []byte) {
			if string(p) == "begun\n" { // the command slow
				c.Cancel()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				for i := range 20 {
					line := fmt.Sprintf("echo %d.%d", n, i)
					if a, err := c.Call(t.Context(), line); err != nil || string(a.Result) != `"`+line[5:]+`"` {
						t.Errorf("Call(%q): got %+v, %v, want its own answer", line, a, err)
					}
				}
			})
			wg.Go(func() {
				for range 5 {
					_, err := c.Call(t.Context(), "slow")
					var e *shell.Error
					if !errors.As(err, &e) || e.Code != shell.CodeCancelled {
						t.Errorf("Call(slow): got %v, want the code %q", err, shell.CodeCancelled)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, r := s.dial(client.Options{})
		id := c.Session()
		errs := make(chan error, 2)
		for range 2 {
			go func() { _, err := c.Call(context.Background(), "slow"); errs <- err }()
		}
		synctest.Wait()
		c.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, client.ErrClosed) {
				t.Errorf("call in progress: got %v, want ErrClosed", err)
			}
		}
		<-c.Done()
		if err := c.Close(); err != nil || !errors.Is(c.Err(), client.ErrClosed) {
			t.Errorf("second Close: got %v, Err %v; want nil, ErrClosed", err, c.Err())
		}
		if err := c.Quit(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Quit: got %v, want ErrClosed", err)
		}
		if _, err := c.Call(t.Context(), "id"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Call: got %v, want ErrClosed", err)
		}
		equal(t, "callbacks", []string{"connected, resumed false", `output "begun\n"`, "disconnected"}, r.take())
		// The session stays.
		again, r := s.dial(client.Options{Session: id})
		equal(t, "session", id, again.Session())
		equal(t, "callbacks", []string{"connected, resumed true"}, r.take())
	})
}

func TestQuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, r := s.dial(client.Options{MinBackoff: 1, MaxBackoff: 1})
		id := c.Session()
		if err := c.Quit(t.Context()); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		equal(t, "callbacks", []string{"connected, resumed false", "disconnected"}, r.take())
		if n := len(s.shell.Sessions().List()); n != 0 {
			t.Errorf("got %d sessions, want none", n)
		}
		again, r := s.dial(client.Options{Session: id})
		equal(t, "callbacks", []string{"connected, resumed false"}, r.take())
		// A session that is busy cannot be ended in time.
		go again.Call(t.Context(), "slow")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := again.Quit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("busy: got %v, want a deadline error", err)
		}
	})
}

func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{
			Authenticate: func(context.Context, *transport.Conn) (shell.User, error) { return shell.User{Name: "guest"}, nil },
			Token: func(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
				if token != "good" {
					return shell.User{}, errors.New("the token is not valid")
				}
				return shell.User{Name: "ops", Role: shell.Operator}, nil
			},
		})
		token := "good"
		opts := client.Options{Token: func(context.Context) (string, error) { return token, nil }}
		c, _ := s.dial(opts)
		equal(t, "whoami", true, strings.Contains(result(t, c, "whoami"), `"ops"`))
		s.disconnect()
		synctest.Wait()
		equal(t, "whoami on the next connection", true, strings.Contains(result(t, c, "whoami"), `"ops"`))

		token = "bad"
		opts.Transport, opts.Addr = s, addr
		var e *shell.Error
		if _, err := client.Dial(t.Context(), opts); !errors.As(err, &e) || e.Code != shell.CodeDenied || strings.Contains(err.Error(), "bad") {
			t.Errorf("a bad token: got %v, want a denied error without the token", err)
		}
		s.disconnect() // the one of Dial, which is closed
		token = "two\nlines"
		if _, err := client.Dial(t.Context(), opts); err == nil || strings.Contains(err.Error(), "two") {
			t.Errorf("a token of two lines: got %v, want an error without the token", err)
		}
		broken := errors.New("broken")
		opts.Token = func(context.Context) (string, error) { return "", broken }
		if _, err := client.Dial(t.Context(), opts); !errors.Is(err, broken) {
			t.Errorf("got %v, want the error of Token", err)
		}
	})
}

func TestDialRefusesOptions(t *testing.T) {
	_, err := client.Dial(t.Context(), client.Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1, WriteTimeout: -2, MaxLine: -1, Session: "a\nb"})
	if err == nil || strings.Count(err.Error(), "option") != 6 {
		t.Errorf("got %v, want 6 faults", err)
	}
}

func TestDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScriptedServer(t, func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done() // never sends its identification
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := client.Dial(ctx, client.Options{Transport: s, Addr: addr})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want a deadline error after 1s", err, time.Since(began))
		}
		if _, err := client.Dial(t.Context(), client.Options{Transport: s, Addr: "nowhere"}); err == nil {
			t.Error("no server: got no error, want one")
		}
	})
}
