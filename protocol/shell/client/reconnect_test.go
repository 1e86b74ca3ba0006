package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/protocoltest"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/transport"
)

// TestResume checks that the session continues on the next connection, with the output of a command
// that went on, and that the command is not repeated.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, r := s.dial(client.Options{})
		id := c.Session()
		result(t, c, "set colour green")
		time.AfterFunc(time.Second, s.disconnect)
		_, err := c.Call(t.Context(), "later 2s")
		if !errors.Is(err, client.ErrDisconnected) || !strings.Contains(err.Error(), "may have been executed") {
			t.Errorf("got %v, want ErrDisconnected", err)
		}
		equal(t, "variable", `"green"`, result(t, c, "get colour")) // after the command that went on
		equal(t, "session", id, c.Session())
		equal(t, "callbacks", []string{"connected, resumed false", "disconnected", "connected, resumed true", `output "after 2s\n"`}, r.take())

		// A call that waits behind a command of the earlier connection cancels it.
		time.AfterFunc(time.Second, s.disconnect)
		c.Call(t.Context(), "slow")
		time.AfterFunc(time.Second, func() { c.Cancel() })
		_, err = c.Call(t.Context(), "echo x")
		var e *shell.Error
		if !errors.As(err, &e) || e.Code != shell.CodeCancelled {
			t.Errorf("got %v, want the code %q", err, shell.CodeCancelled)
		}
	})
}

// TestResumeTextSession resumes a session that a client has created which uses text.
func TestResumeTextSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		nc, err := s.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, "set colour green\nlater 1s\n")
		b := make([]byte, 1000)
		n, _ := nc.Read(b)
		synctest.Wait()
		nc.Close()
		time.Sleep(2 * time.Second)
		id := strings.TrimSpace(strings.TrimPrefix(string(b[:n]), "Client identification "))
		c, r := s.dial(client.Options{Session: id})
		equal(t, "variable", `"green"`, result(t, c, "get colour"))
		equal(t, "callbacks", []string{"connected, resumed true", `output "after 1s\n"`}, r.take())
	})
}

// TestRestart checks that the client continues with a new session after the server has lost the old
// one, and that a call waits for the connection.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		failures := 0
		c, err := client.Dial(t.Context(), client.Options{Transport: s, Addr: addr, OnDisconnect: func(error) { failures++ }})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		id := c.Session()
		s.stop()
		synctest.Wait()
		started := make(chan struct{})
		time.AfterFunc(time.Minute, func() { defer close(started); s.start(shell.Options{}) })
		began := time.Now()
		equal(t, "result", `"x"`, result(t, c, "echo x"))
		if took := time.Since(began); took < time.Minute || took > time.Minute+10*time.Second {
			t.Errorf("got the answer after %v, want 60s to 70s", took)
		}
		if failures < 8 || failures > 25 { // 0.1, 0.2 … 10 s, each less up to half
			t.Errorf("got %d failures in a minute, want 8 to 25", failures)
		}
		if c.Session() == id {
			t.Errorf("got session %s, want another one", id)
		}
		<-started
		s.stop()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(short, "echo x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a server: got %v, want a deadline error", err)
		}
		if err := c.Quit(t.Context()); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Quit without a server: got %v, want ErrDisconnected", err)
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, r := s.dial(client.Options{NoReconnect: true})
		stopped := make(chan struct{})
		time.AfterFunc(time.Second, func() { defer close(stopped); s.stop() })
		_, err := c.Call(t.Context(), "slow")
		var e *shell.Error
		if !errors.As(err, &e) && !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("got %v, want an error of the server or ErrDisconnected", err)
		}
		<-c.Done()
		if !errors.Is(c.Err(), client.ErrDisconnected) {
			t.Errorf("Err: got %v, want ErrDisconnected", c.Err())
		}
		equal(t, "callbacks", []string{"connected, resumed false", `output "begun\n"`, "shutdown", "disconnected"}, r.take())
		<-stopped
	})
}

func TestNoReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{NoReconnect: true})
		s.disconnect()
		<-c.Done()
		if _, err := c.Call(t.Context(), "id"); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("got %v, want ErrDisconnected", err)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		c, _ := s.dial(client.Options{MaxAttempts: 3})
		s.stop()
		synctest.Wait()
		if _, err := c.Call(t.Context(), "id"); !errors.Is(err, client.ErrGaveUp) {
			t.Errorf("got %v, want ErrGaveUp", err)
		}
	})
}

// TestRefusedOnReconnect checks that the client ends when its token is not accepted any more.
func TestRefusedOnReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		valid := true
		s := newTestServer(t, shell.Options{Token: func(context.Context, *transport.Conn, string) (shell.User, error) {
			if !valid {
				return shell.User{}, errors.New("the token is not valid")
			}
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		}})
		c, _ := s.dial(client.Options{Token: func(context.Context) (string, error) { return "x", nil }})
		valid = false
		s.disconnect()
		<-c.Done()
		var e *shell.Error
		if !errors.As(c.Err(), &e) || e.Code != shell.CodeDenied {
			t.Errorf("got %v, want a denied error", c.Err())
		}
	})
}

// TestTakenOver checks that a client whose session is taken over ends, and does not take it back.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		first, _ := s.dial(client.Options{})
		failed := make(chan error)
		go func() { _, err := first.Call(context.Background(), "slow"); failed <- err }()
		synctest.Wait()
		second, r := s.dial(client.Options{Session: first.Session()})
		if err := <-failed; !errors.Is(err, client.ErrTakenOver) {
			t.Errorf("call in progress: got %v, want ErrTakenOver", err)
		}
		<-first.Done()
		if err := first.Err(); !errors.Is(err, client.ErrTakenOver) || !strings.Contains(err.Error(), "client-2") {
			t.Errorf("Err: got %v, want ErrTakenOver with the address", err)
		}
		second.Cancel()
		equal(t, "result", `"mine"`, result(t, second, "echo mine"))
		equal(t, "callbacks", []string{"connected, resumed true"}, r.take())
	})
}

// TestOutputLost checks that the client reports output that the server could not buffer.
func TestOutputLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{Sessions: session.Options[shell.State]{MaxOutput: 1000}})
		c, r := s.dial(client.Options{MinBackoff: 10 * time.Second})
		go c.Call(t.Context(), "flood")
		synctest.Wait()
		s.disconnect()
		time.Sleep(time.Minute)
		events := r.take()
		if len(events) < 4 || !strings.HasPrefix(events[3], "lost ") {
			t.Errorf("got %.80q, want connected, disconnected, connected, lost", events)
		}
	})
}

// flakyTransport dials connections that fail at random.
type flakyTransport struct {
	transport.Transport
	seed uint64
}

func (f *flakyTransport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := f.Transport.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	f.seed++
	return protocoltest.NewFlaky(nc, protocoltest.FlakyOptions{Chance: 0.02, Seed: f.seed, Most: 7}), nil
}

// TestFlaky repeats commands over connections that fail in the middle of lines until each has been
// answered. Every answer must be that of its command, and the session must stay the same.
func TestFlaky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, shell.Options{})
		var c *client.Client
		for err := errors.New("not connected"); err != nil; { // Dial does not retry
			c, err = client.Dial(t.Context(), client.Options{Transport: &flakyTransport{s, 0}, Addr: addr, DialTimeout: time.Hour})
		}
		defer c.Close()
		id, failures := c.Session(), 0
		for n := range 50 {
			line := fmt.Sprintf("echo %d", n)
			a, err := c.Call(t.Context(), line)
			for ; errors.Is(err, client.ErrDisconnected); failures++ {
				a, err = c.Call(t.Context(), line)
			}
			if want := fmt.Sprintf(`"%d"`, n); err != nil || string(a.Result) != want {
				t.Fatalf("%s: got %+v, %v, want %s", line, a, err, want)
			}
		}
		if failures == 0 || c.Session() != id {
			t.Errorf("got %d failures and session %s, want some and %s", failures, c.Session(), id)
		}
	})
}
