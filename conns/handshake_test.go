package conns_test

import (
	"bytes"
	"context"
	"errors"
	"goranch/protocol"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/transport"
)

func TestHandshakeTimeout(t *testing.T) {
	silent := fake{shake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for _, tc := range []struct {
		name   string
		limit  time.Duration
		change time.Duration // 0: none
		want   time.Duration // 0: never
	}{
		{"as configured", 5 * time.Second, 0, 5 * time.Second},
		{"changed", 5 * time.Second, 15 * time.Second, 15 * time.Second},
		{"switched on", 0, time.Second, time.Second},
		{"switched off", time.Second, -1, 0},
		{"zero is none", 0, 0, 0},
		{"negative is none", -time.Second, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, 10, tc.limit)
				if tc.change != 0 {
					h.sup.Set(conns.Settings{HandshakeTimeout: tc.change})
				}
				begin := time.Now()
				h.start(silent, newStub(), readAll)
				if tc.want == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					if n := h.sup.Counters().Live; n != 1 {
						t.Errorf("after a day: got %d live connections, want 1", n)
					}
					killAll(h, nil)
					h.end()
				} else {
					end := h.end()
					if took := time.Since(begin); end.Reason != conns.HandshakeTimeout || took != tc.want || end.Duration != tc.want {
						t.Errorf("got the end %+v after %v, want %q after %v", end, took, conns.HandshakeTimeout, tc.want)
					}
				}
				h.close()
			})
		})
	}
}

// A change of the HandshakeTimeout applies to connections accepted later, not to handshakes in
// progress. The protocol is not limited.
func TestHandshakeTimeoutChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 10*time.Second)
		silent := fake{shake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		h.start(silent, newStub(), readAll)
		served := newStub()
		h.start(fake{}, served, readAll)
		synctest.Wait()
		h.sup.Set(conns.Settings{HandshakeTimeout: time.Second})
		h.start(silent, newStub(), readAll)
		for _, want := range []time.Duration{time.Second, 10 * time.Second} {
			if end := h.end(); end.Duration != want || end.Reason != conns.HandshakeTimeout {
				t.Errorf("got the end %+v, want %q after %v", end, conns.HandshakeTimeout, want)
			}
		}
		time.Sleep(time.Hour)
		if n := h.sup.Counters().Live; n != 1 {
			t.Errorf("got %d live connections, want 1: the limit does not apply to the protocol", n)
		}
		h.close()
	})
}

// The protocol uses the connection that the handshake has returned.
func TestHandshakeReplacesTheConnection(t *testing.T) {
	h := newHarness(t, 1, time.Minute)
	server, client := net.Pipe()
	defer client.Close()
	h.start(fake{shake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("handshake: got no deadline, want one")
		}
		return upperCaseConn{nc}, nil
	}}, server, func(ctx context.Context, c *transport.Conn) error {
		if _, ok := ctx.Deadline(); ok {
			t.Error("protocol: got a deadline, want none")
		}
		_, err := c.Write([]byte("hello"))
		return err
	})
	got, err := io.ReadAll(client)
	if string(got) != "HELLO" || err != nil {
		t.Errorf("client: got %q, %v, want HELLO, nil", got, err)
	}
	h.close()
}

type upperCaseConn struct{ net.Conn }

func (s upperCaseConn) Write(p []byte) (int, error) { return s.Conn.Write(bytes.ToUpper(p)) }

// The stack of a PanicError is that of the handshake, which has a goroutine of its own.
func TestHandshakePanicStack(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panicWith("a test") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1, time.Minute)
			h.start(fake{shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, failingHandshake(fail) }}, newStub(), readAll)
			end := h.end()
			wantReason(t, end, conns.Panicked)
			var p *protocol.PanicError
			if !errors.As(end.Err, &p) || !strings.Contains(string(p.Stack), "failingHandshake") {
				t.Errorf("got %v with the stack\n%s\nwant failingHandshake in it", end.Err, p.Stack)
			}
			h.close()
		})
	}
}

//go:noinline
func failingHandshake(fail func()) error { fail(); return nil }

// A handshake that returns at the instant at which its context is cancelled fails with the cause.
// The other children of the context delay the cancellation of those that the supervisor has
// registered.
func TestHandshakeCancelCause(t *testing.T) {
	for range 20 {
		h := newHarness(t, 1, time.Minute)
		began := make(chan struct{})
		var cancels []context.CancelFunc // called later: they would wait for the cancellation
		h.start(fake{shake: func(ctx context.Context, _ net.Conn) (net.Conn, error) {
			for range 5000 {
				_, cancel := context.WithCancel(ctx)
				cancels = append(cancels, cancel)
			}
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		}}, newStub(), readAll)
		receive(t, began)
		h.shutdown()
		end := h.end()
		wantReason(t, end, conns.Shutdown)
		if !errors.Is(end.Err, protocol.ErrShutdown) {
			t.Errorf("got the error %v, want one that wraps %v", end.Err, protocol.ErrShutdown)
		}
		for _, cancel := range cancels {
			cancel()
		}
		h.close()
	}
}
