package conns_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

var (
	errBoom = errors.New("boom")
	plain   = transport.TCP{}
)

// readAll is the plain loop of a protocol: it reads until that fails.
func readAll(_ context.Context, c *transport.Conn) error {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			return err
		}
	}
}

// untilClosed pays no heed to being told, but notices that its socket is closed.
func untilClosed(_ context.Context, c *transport.Conn) error {
	for {
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, protocol.ErrShutdown) {
			return err
		}
		if _, err := c.Write([]byte{'.'}); err != nil {
			return err
		}
	}
}

// toldOnly waits for its context and leaves the socket alone.
func toldOnly(ctx context.Context, _ *transport.Conn) error {
	<-ctx.Done()
	return ctx.Err()
}

func hangUp(_ *house, client net.Conn) { client.Close() }

func reset(_ *house, client net.Conn) {
	client.(*net.TCPConn).SetLinger(0)
	client.Close()
}

func shut(h *house, _ net.Conn) { h.shutdown() }

// shutNow allows no time at all.
func shutNow(h *house, _ net.Conn) {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := h.sup.Shutdown(ctx); err != nil {
		h.Error(err)
	}
}

func killAll(h *house, _ net.Conn) {
	for _, c := range list(h.sup) {
		if !h.sup.Kill(c.ID) {
			h.Errorf("connection %d is listed, but not there to kill", c.ID)
		}
	}
}

func nothing(*house, net.Conn) {}

type network string

const (
	loopback network = "tcp"
	pipe     network = "pipe"
)

func (n network) pair(t testing.TB) (server, client net.Conn) {
	if n == loopback {
		return tcpPair(t)
	}
	server, client = net.Pipe()
	t.Cleanup(func() { client.Close() })
	return server, client
}

// Each reason by what really causes it. Whatever the reason, the connection is told of
// once as started and once as ended, its slot comes back once, and before the end is told.
func TestReasons(t *testing.T) {
	both := []network{loopback, pipe}
	tcpOnly := []network{loopback}
	shaker := func(f func(ctx context.Context, nc net.Conn) (net.Conn, error)) transport.Transport {
		return fake{shake: f}
	}
	silent := shaker(func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	reading := shaker(func(_ context.Context, nc net.Conn) (net.Conn, error) {
		_, err := nc.Read(make([]byte, 1))
		return nc, err
	})
	secure := transport.TLS{Config: serverTLS(t)}
	const soon = 20 * time.Millisecond

	for _, tc := range []struct {
		name      string
		over      []network
		t         transport.Transport // nil: plain
		handshake time.Duration
		serve     protocol.Func
		peer      func(h *house, client net.Conn) // once the connection lives
		want      conns.Reason
		unserved  bool
		is        []error // what End.Err wraps
	}{
		{name: "returned nil", over: both, want: conns.Finished,
			serve: func(context.Context, *transport.Conn) error { return nil }},
		{name: "closed it itself", over: tcpOnly, want: conns.Finished, is: []error{net.ErrClosed},
			serve: func(ctx context.Context, c *transport.Conn) error { c.Close(); return readAll(ctx, c) }},

		{name: "peer closed", over: both, peer: hangUp, want: conns.PeerClosed, is: []error{io.EOF}},
		{name: "peer closed in the middle of a message", over: both, want: conns.PeerClosed, is: []error{io.ErrUnexpectedEOF},
			peer: func(_ *house, client net.Conn) { client.Write([]byte("ab")); client.Close() },
			serve: func(_ context.Context, c *transport.Conn) error {
				_, err := io.ReadFull(c, make([]byte, 4))
				return fmt.Errorf("read the header: %w", err)
			}},
		{name: "peer reset", over: tcpOnly, peer: reset, want: conns.PeerClosed, is: []error{syscall.ECONNRESET}},
		{name: "written to a peer that had gone", over: tcpOnly, peer: hangUp, want: conns.PeerClosed,
			serve: func(_ context.Context, c *transport.Conn) error {
				for {
					if _, err := c.Write([]byte("anybody there?")); err != nil {
						return err
					}
				}
			}},

		{name: "returned an error", over: both, want: conns.Failed, is: []error{errBoom},
			serve: func(context.Context, *transport.Conn) error { return fmt.Errorf("serve: %w", errBoom) }},
		{name: "gave up a context of its own", over: both, want: conns.Failed, is: []error{context.Canceled},
			serve: func(ctx context.Context, _ *transport.Conn) error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return ctx.Err()
			}},

		{name: "panicked", over: both, want: conns.Panicked,
			serve: func(context.Context, *transport.Conn) error { panic("oh dear") }},
		{name: "panicked with an error", over: both, want: conns.Panicked, is: []error{errBoom},
			serve: func(context.Context, *transport.Conn) error { panic(errBoom) }},
		{name: "panicked with end of file", over: both, want: conns.Panicked, is: []error{io.EOF},
			serve: func(context.Context, *transport.Conn) error { panic(io.EOF) }},
		{name: "panicked with nil", over: both, want: conns.Panicked,
			serve: func(context.Context, *transport.Conn) error { panic(nil) }},
		{name: "Goexit", over: both, want: conns.Panicked,
			serve: func(context.Context, *transport.Conn) error { runtime.Goexit(); return nil }},
		{name: "panicked when told", over: both, peer: shut, want: conns.Panicked,
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); panic("no!") }},
		{name: "panicked when killed", over: both, peer: killAll, want: conns.Panicked,
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); panic("no!") }},
		{name: "panic in handshake", over: both, want: conns.Panicked, unserved: true, is: []error{errBoom},
			t: shaker(func(context.Context, net.Conn) (net.Conn, error) { panic(errBoom) })},
		{name: "Goexit in handshake", over: both, want: conns.Panicked, unserved: true,
			t: shaker(func(context.Context, net.Conn) (net.Conn, error) { runtime.Goexit(); return nil, nil })},
		{name: "panic in handshake of a plain transport", over: both, want: conns.Panicked, unserved: true, is: []error{errBoom},
			t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { panic(errBoom) }}},
		{name: "Goexit in handshake of a plain transport", over: both, want: conns.Panicked, unserved: true,
			t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { runtime.Goexit(); return nil, nil }}},

		{name: "read deadline", over: both, want: conns.TimedOut, is: []error{os.ErrDeadlineExceeded},
			serve: func(ctx context.Context, c *transport.Conn) error {
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
				return readAll(ctx, c)
			}},
		{name: "write deadline", over: both, want: conns.TimedOut, is: []error{os.ErrDeadlineExceeded},
			serve: func(_ context.Context, c *transport.Conn) error {
				c.SetWriteDeadline(time.Now().Add(-time.Second))
				_, err := c.Write([]byte("late"))
				return err
			}},
		{name: "a deadline of its own", over: both, want: conns.TimedOut, is: []error{context.DeadlineExceeded},
			serve: func(ctx context.Context, c *transport.Conn) error {
				ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				<-ctx.Done()
				return ctx.Err()
			}},

		{name: "send timeout", over: both, want: conns.SendTimeout, is: []error{transport.ErrSendTimeout},
			t: transport.TCP{SendTimeout: soon, WriteBuffer: 4096},
			serve: func(_ context.Context, c *transport.Conn) error {
				for b := make([]byte, 1<<20); ; {
					if _, err := c.Write(b); err != nil {
						return err
					}
				}
			}},

		{name: "handshake refused", over: both, want: conns.HandshakeFailed, unserved: true, is: []error{errBoom},
			t: shaker(func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom })},
		{name: "handshake of a plain transport refused", over: both, want: conns.HandshakeFailed, unserved: true, is: []error{errBoom},
			t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom }}},
		{name: "peer closed in handshake", over: both, t: reading, peer: hangUp, want: conns.HandshakeFailed, unserved: true, is: []error{io.EOF}},
		{name: "garbage for TLS", over: both, t: secure, want: conns.HandshakeFailed, unserved: true,
			peer: func(_ *house, client net.Conn) {
				go io.Copy(io.Discard, client) // the alert
				client.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
			}},
		{name: "peer vanished in TLS handshake", over: both, t: secure, peer: hangUp, want: conns.HandshakeFailed, unserved: true, is: []error{io.EOF}},

		{name: "handshake timeout", over: both, t: silent, handshake: soon, want: conns.HandshakeTimeout, unserved: true,
			is: []error{context.DeadlineExceeded}},
		{name: "silence for TLS", over: both, t: secure, handshake: soon, want: conns.HandshakeTimeout, unserved: true,
			is: []error{context.DeadlineExceeded}},
		{name: "deadline set by the handshake", over: both, handshake: time.Hour, want: conns.HandshakeTimeout, unserved: true,
			t: shaker(func(_ context.Context, nc net.Conn) (net.Conn, error) {
				nc.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err := nc.Read(make([]byte, 1))
				return nc, err
			}), is: []error{os.ErrDeadlineExceeded}},

		{name: "told while reading", over: both, peer: shut, want: conns.Shutdown, is: []error{protocol.ErrShutdown}},
		{name: "told while it waits for its context", over: both, serve: toldOnly, peer: shut, want: conns.Shutdown, is: []error{context.Canceled}},
		{name: "told, returns the cause", over: both, peer: shut, want: conns.Shutdown, is: []error{protocol.ErrShutdown},
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return context.Cause(ctx) }},
		{name: "told, returns nil", over: both, peer: shut, want: conns.Shutdown,
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return nil }},
		{name: "told, fails", over: both, peer: shut, want: conns.Failed, is: []error{errBoom},
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return errBoom }},

		{name: "closed at the limit", over: both, serve: untilClosed, want: conns.Aborted,
			peer: func(h *house, client net.Conn) {
				go io.Copy(io.Discard, client)
				shutNow(h, client)
			}},
		{name: "closed in handshake", over: both, want: conns.Aborted, unserved: true, peer: shutNow,
			t: shaker(func(_ context.Context, nc net.Conn) (net.Conn, error) {
				for {
					if _, err := nc.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						return nil, err
					}
				}
			})},

		{name: "killed while reading", over: both, peer: killAll, want: conns.Killed},
		{name: "killed while it waits for its context", over: both, peer: killAll, want: conns.Killed, is: []error{conns.Killed},
			serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return context.Cause(ctx) }},
		{name: "killed in handshake", over: both, t: silent, handshake: time.Hour, peer: killAll, want: conns.Killed, unserved: true, is: []error{conns.Killed}},
		{name: "killed in TLS handshake", over: both, t: secure, handshake: time.Hour, peer: killAll, want: conns.Killed, unserved: true, is: []error{conns.Killed}},
		{name: "killed while writing", over: both, peer: killAll, want: conns.Killed,
			serve: func(_ context.Context, c *transport.Conn) error {
				for b := make([]byte, 1<<20); ; {
					if _, err := c.Write(b); err != nil {
						return err
					}
				}
			}},
	} {
		for _, n := range tc.over {
			t.Run(tc.name+"/"+string(n), func(t *testing.T) {
				if tc.t == nil {
					tc.t = plain
				}
				if tc.serve == nil {
					tc.serve = readAll
				}
				if tc.peer == nil {
					tc.peer = nothing
				}
				h := newHouse(t, 1, tc.handshake)
				server, client := n.pair(t)
				h.start(tc.t, server, tc.serve)
				tc.peer(h, client)
				end := h.end()
				if s := h.gate.State(); s.Used != 0 {
					t.Errorf("the slot was not free when the end was told: %+v", s)
				}
				if end.Reason != tc.want || end.Served == tc.unserved {
					t.Errorf("ended with %q, served %t, error %v; want %q, served %t", end.Reason, end.Served, end.Err, tc.want, !tc.unserved)
				}
				for _, err := range tc.is {
					if !errors.Is(end.Err, err) {
						t.Errorf("the error is %v, want one that wraps %v", end.Err, err)
					}
				}
				h.close()
				if h.released != 1 {
					t.Errorf("the slot was given back %d times", h.released)
				}
				var want conns.Counters
				want.Accepted, want.Ended[tc.want] = 1, 1
				if tc.unserved {
					want.HandshakeFailed = 1
				} else {
					want.Served = 1
				}
				if diff := cmp.Diff(want, h.sup.Counters()); diff != "" {
					t.Errorf("counters (-want +got):\n%s", diff)
				}
				if _, err := server.Write([]byte("x")); err == nil {
					t.Error("the socket was left open")
				}
			})
		}
	}
}

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		refuse func(h *house, nc net.Conn)
	}{
		{"started after a shutdown", func(h *house, nc net.Conn) { h.shutdown(); h.start(plain, nc, readAll) }},
		{"refused by the acceptor", func(h *house, nc net.Conn) { h.sup.Refuse(plain, nc) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, 1, 0)
			server, client := tcpPair(t)
			tc.refuse(h, server)
			end := h.end()
			if end.Reason != conns.Refused || end.Served || !errors.Is(end.Err, protocol.ErrShutdown) || end.Conn.NetConn() != net.Conn(server) {
				t.Errorf("ended with %+v", end)
			}
			if n, err := client.Read(make([]byte, 1)); err == nil {
				t.Errorf("the peer got %d bytes", n)
			}
			want := conns.Counters{Accepted: 1, Refused: 1}
			want.Ended[conns.Refused] = 1
			if diff := cmp.Diff(want, h.sup.Counters()); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
			h.close()
		})
	}
}

// The one who is told of a refused connection finds its slot given back, may remove it as
// any other, and nothing of it is left behind.
func TestRefusedLeavesNothing(t *testing.T) {
	g := conns.NewGate(1)
	ends := 0
	s := conns.New(conns.Config{Gate: g, Ended: func(e conns.ConnEnd) {
		ends++
		wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
		conns.Remove(e.Conn)
	}})
	if err := s.Shutdown(bg); err != nil {
		t.Fatal(err)
	}
	base := &countingContext{Context: bg, done: make(chan struct{})}
	take(t, g, 1)
	nc := newStub()
	s.Start(base, plain, nc, protocol.Func(readAll))
	wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
	if ends != 1 {
		t.Errorf("Ended was called %d times", ends)
	}
	if n := base.children.Load(); n != 0 {
		t.Errorf("%d contexts of refused connections hang on the base", n)
	}
	receive(t, nc.closed)
}

// countingContext is a base that can end, and knows how many contexts wait for that.
type countingContext struct {
	context.Context
	done     chan struct{}
	children atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

// AfterFunc is what package context calls for each child of a context that is not its own.
func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.children.Add(1)
	return func() bool { c.children.Add(-1); return true }
}

func TestPanicError(t *testing.T) {
	for _, tc := range []struct {
		name  string
		serve protocol.Func
		text  string
		value any
		is    error
		place string // in the stack
	}{
		{"text", func(context.Context, *transport.Conn) error { return jump("oh dear") }, "panic: oh dear", "oh dear", nil, "conns_test.jump"},
		{"error", func(context.Context, *transport.Conn) error { return jump(errBoom) }, "panic: boom", errBoom, errBoom, "conns_test.jump"},
		{"Goexit", func(context.Context, *transport.Conn) error { runtime.Goexit(); return nil }, "goroutine ended by runtime.Goexit", nil, nil, "runtime.Goexit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, 1, 0)
			h.start(plain, newStub(), tc.serve)
			end := h.end()
			var p *protocol.PanicError
			if !errors.As(end.Err, &p) {
				t.Fatalf("the error is %v", end.Err)
			}
			if p.Error() != tc.text || p.Value != tc.value || !strings.Contains(string(p.Stack), tc.place) {
				t.Errorf("%q with value %v at\n%s", p.Error(), p.Value, p.Stack)
			}
			if tc.is != nil && !errors.Is(end.Err, tc.is) {
				t.Errorf("%v is not %v", end.Err, tc.is)
			}
			h.close()
		})
	}
}

//go:noinline
func jump(v any) error { panic(v) }

func TestReasonOf(t *testing.T) {
	wrap := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	for _, tc := range []struct {
		err  error
		want conns.Reason
	}{
		{nil, conns.Finished},
		{io.EOF, conns.PeerClosed},
		{wrap(io.ErrUnexpectedEOF), conns.PeerClosed},
		{wrap(syscall.ECONNRESET), conns.PeerClosed},
		{wrap(syscall.EPIPE), conns.PeerClosed},
		{wrap(syscall.ECONNABORTED), conns.PeerClosed},
		{wrap(syscall.ETIMEDOUT), conns.PeerClosed}, // keepalive found nobody: no deadline of ours
		{wrap(os.ErrDeadlineExceeded), conns.TimedOut},
		{context.DeadlineExceeded, conns.TimedOut},
		{context.Canceled, conns.Failed},
		{wrap(transport.ErrSendTimeout), conns.SendTimeout},
		{wrap(protocol.ErrBadInput), conns.BadInput},
		{wrap(protocol.ErrShutdown), conns.Shutdown},
		{wrap(net.ErrClosed), conns.Finished},
		{errBoom, conns.Failed},
		{fmt.Errorf("serve: %w", &protocol.PanicError{Value: io.EOF}), conns.Panicked},
		{errors.Join(io.EOF, protocol.ErrShutdown), conns.Shutdown},
	} {
		if got := conns.ReasonOf(tc.err); got != tc.want {
			t.Errorf("ReasonOf(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for i, r := range conns.Reasons() {
		if s := r.String(); int(r) != i || s == "" || seen[s] {
			t.Errorf("reason %d is %q", i, s)
		}
		seen[r.String()] = true
	}
	if got := conns.Reason(200).String(); got != "Reason(200)" {
		t.Errorf("an unknown reason is %q", got)
	}
}

// What a connection's context says, at its end and after, and what contexts derived from it say.
func TestContextCause(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(h *house, client net.Conn)
		want error
	}{
		{"shutdown", shut, protocol.ErrShutdown},
		{"kill", killAll, conns.Killed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, 1, 0)
			causes := make(chan []error, 1)
			type key struct{}
			take(t, h.gate, 1)
			base := context.WithValue(bg, key{}, "of the base")
			h.sup.Start(base, plain, newStub(), protocol.Func(func(ctx context.Context, c *transport.Conn) error {
				derived, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				<-derived.Done()
				causes <- []error{context.Cause(ctx), context.Cause(derived), derived.Err()}
				if v := ctx.Value(key{}); v != "of the base" {
					t.Errorf("the context's value is %v", v)
				}
				return nil
			}))
			tc.end(h, nil)
			want := []error{tc.want, tc.want, context.Canceled}
			got := receive(t, causes)
			for i, err := range got {
				if !errors.Is(err, want[i]) {
					t.Errorf("causes %v, want %v", got, want)
					break
				}
			}
			h.close()
		})
	}
	t.Run("end", func(t *testing.T) {
		h := newHouse(t, 1, 0)
		kept := make(chan context.Context, 1)
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			if err := context.Cause(ctx); err != nil {
				t.Errorf("the context ends before the connection: %v", err)
			}
			kept <- ctx
			return nil
		})
		ctx := receive(t, kept)
		h.end()
		if err := context.Cause(ctx); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("the cause after the end is %v", err)
		}
		h.close()
	})
	t.Run("deadline of its own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, 1, 0)
			h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
				derived, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				<-derived.Done()
				if ctx.Err() != nil {
					t.Error("the connection's context ended with that of its protocol")
				}
				return context.Cause(derived)
			})
			if end := h.end(); end.Reason != conns.TimedOut || end.Duration != 10*time.Second {
				t.Errorf("ended with %+v", end)
			}
			h.close()
		})
	})
}

// A base context that ends is not what Start asks for, but it costs nothing but order.
func TestBaseContextEnds(t *testing.T) {
	h := newHouse(t, 1, 0)
	base, cancel := context.WithCancelCause(bg)
	take(t, h.gate, 1)
	h.sup.Start(base, plain, newStub(), protocol.Func(toldOnly))
	cancel(errTired)
	if end := h.end(); end.Reason != conns.Shutdown {
		t.Errorf("ended with %+v", end)
	}
	h.close()
}

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
				h := newHouse(t, 10, tc.limit)
				if tc.change != 0 {
					h.sup.Set(conns.Settings{HandshakeTimeout: tc.change})
				}
				begin := time.Now()
				h.start(silent, newStub(), readAll)
				if tc.want == 0 {
					time.Sleep(24 * time.Hour)
					synctest.Wait()
					if n := h.sup.Counters().Live; n != 1 {
						t.Errorf("%d live after a day", n)
					}
					killAll(h, nil)
					h.end()
				} else {
					end := h.end()
					if took := time.Since(begin); end.Reason != conns.HandshakeTimeout || took != tc.want || end.Duration != tc.want {
						t.Errorf("ended after %v with %+v, want a handshake timeout after %v", took, end, tc.want)
					}
				}
				h.close()
			})
		})
	}
}

// A change holds for connections accepted from then on, not for those in the handshake,
// and the limit is none for the protocol.
func TestHandshakeTimeoutChangesForNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 10, 10*time.Second)
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
				t.Errorf("ended with %+v, want a handshake timeout after %v", end, want)
			}
		}
		time.Sleep(time.Hour)
		if n := h.sup.Counters().Live; n != 1 {
			t.Error("the handshake's limit ended a connection that was being served")
		}
		h.close()
	})
}

// Contract 5, step by step: told first; reads fail at once, while a write still arrives;
// closed at the limit.
func TestShutdownInOrder(t *testing.T) {
	for _, n := range []network{loopback, pipe} {
		t.Run(string(n), func(t *testing.T) {
			h := newHouse(t, 1, 0)
			server, client := n.pair(t)
			ready, closed := make(chan bool), make(chan error, 1)
			h.start(plain, server, func(ctx context.Context, c *transport.Conn) error {
				close(ready)
				_, err := c.Read(make([]byte, 1))
				if cause := context.Cause(ctx); !errors.Is(cause, protocol.ErrShutdown) {
					t.Errorf("reading failed before the context said why: %v", cause)
				}
				if !errors.Is(err, protocol.ErrShutdown) {
					t.Errorf("the blocked read failed with %v", err)
				}
				c.SetReadDeadline(time.Now().Add(time.Hour)) // does not undo it
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, protocol.ErrShutdown) {
					t.Errorf("a later read failed with %v", err)
				}
				for i := range 3 {
					if _, err := fmt.Fprintf(c, "last words %d\n", i); err != nil {
						t.Errorf("a write failed before the limit: %v", err)
					}
				}
				for { // the limit is still to come
					if _, err := c.Write([]byte{'.'}); err != nil {
						closed <- err
						return err
					}
				}
			})
			receive(t, ready)
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- h.sup.Shutdown(ctx) }()
			want := "last words 0\nlast words 1\nlast words 2\n..."
			got := make([]byte, len(want))
			if _, err := io.ReadFull(client, got); err != nil || string(got) != want {
				t.Errorf("the peer got %q, %v", got, err)
			}
			go io.Copy(io.Discard, client)
			select {
			case err := <-closed:
				t.Errorf("closed before the limit: %v", err)
			case err := <-done:
				t.Errorf("Shutdown returned before the limit: %v", err)
			default:
			}
			cancel()
			if err := receive(t, done); err != nil {
				t.Error(err)
			}
			if end := h.end(); end.Reason != conns.Aborted {
				t.Errorf("ended with %+v", end)
			}
			h.close()
		})
	}
}

// The limit and the grace after it, to the nanosecond.
func TestShutdownTimes(t *testing.T) {
	const limit = 5 * time.Second
	for _, tc := range []struct {
		name   string
		limit  time.Duration // negative: over already
		serve  protocol.Func
		want   time.Duration
		reason conns.Reason
		stuck  bool
	}{
		{"obeys", limit, toldOnly, 0, conns.Shutdown, false},
		{"reads", limit, readAll, 0, conns.Shutdown, false},
		{"needs a while", limit, after(3*time.Second, nil), 3 * time.Second, conns.Shutdown, false},
		{"closed at the limit", limit, closedOnly, limit, conns.Aborted, false},
		{"needs a part of the grace", limit, after(limit+conns.StuckGrace/2, nil), limit + conns.StuckGrace/2, conns.Aborted, false},
		{"ignores everything", limit, after(20*time.Second, nil), limit + conns.StuckGrace, conns.Aborted, true},
		{"brutal", -1, closedOnly, 0, conns.Aborted, false},
		{"brutal, ignores everything", -1, after(20*time.Second, nil), conns.StuckGrace, conns.Aborted, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, 1, 0)
				h.start(plain, newStub(), tc.serve)
				synctest.Wait()
				begin := time.Now()
				ctx, cancel := context.WithTimeout(bg, tc.limit)
				defer cancel()
				err := h.sup.Shutdown(ctx)
				took := time.Since(begin)
				var stuck *conns.StuckError
				if took != tc.want || errors.As(err, &stuck) != tc.stuck || err != nil && !tc.stuck {
					t.Errorf("returned after %v with %v, want %v, stuck %t", took, err, tc.want, tc.stuck)
				}
				if end := h.end(); end.Reason != tc.reason { // also of those that were stuck
					t.Errorf("ended with %+v, want %q", end, tc.reason)
				}
				h.close()
			})
		})
	}
}

// after returns for a time once it was told, whatever happens meanwhile.
func after(d time.Duration, err error) protocol.Func {
	return func(ctx context.Context, _ *transport.Conn) error {
		<-ctx.Done()
		time.Sleep(d)
		return err
	}
}

// closedOnly is woken by nothing but the end of its socket.
func closedOnly(_ context.Context, c *transport.Conn) error {
	<-c.NetConn().(*stub).closed
	return net.ErrClosed
}

func TestStuckError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 12
		h := newHouse(t, conns.Unlimited, 0)
		release := make(chan struct{})
		stuck := stuckProtocol{release}
		var want []uint64
		for range n {
			take(t, h.gate, 1)
			h.sup.Start(bg, plain, newStub(), stuck)
			h.start(plain, newStub(), toldOnly) // those that behave are not named
		}
		h.start(fake{shake: func(_ context.Context, nc net.Conn) (net.Conn, error) { <-release; return nc, nil }}, newStub(), toldOnly)
		synctest.Wait()
		for _, c := range list(h.sup) {
			if _, ok := c.Protocol.(stuckProtocol); ok || !c.Served {
				want = append(want, c.ID)
			}
		}
		ctx, cancel := context.WithCancel(bg)
		cancel()
		err := h.sup.Shutdown(ctx)
		var e *conns.StuckError
		if !errors.As(err, &e) {
			t.Fatalf("Shutdown returned %v", err)
		}
		var got []uint64
		for _, c := range e.Conns {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) != n+1 {
			t.Errorf("stuck connections (-want +got):\n%s", diff)
		}
		for _, part := range []string{"13 protocols", fmt.Sprintf("#%d from there (conns_test.stuckProtocol)", want[0]), "and 3 more"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the text has no %q: %v", part, err)
			}
		}
		// They hold their slots for as long as they live, and a later Shutdown names them again.
		if used := h.gate.State().Used; used != n+1 {
			t.Errorf("%d slots in use", used)
		}
		if err := h.sup.Shutdown(ctx); !errors.As(err, &e) || len(e.Conns) != n+1 {
			t.Errorf("the second Shutdown returned %v", err)
		}
		close(release)
		h.close()
	})
}

type stuckProtocol struct{ release chan struct{} }

func (p stuckProtocol) Serve(context.Context, *transport.Conn) error { <-p.release; return nil }

func TestShutdownOfNobody(t *testing.T) {
	h := newHouse(t, 1, 0)
	for range 2 {
		if err := h.sup.Shutdown(bg); err != nil {
			t.Error(err)
		}
	}
	shutNow(h, nil)
	h.close()
}

// Several at once, each with its own limit: the shortest closes, and all return.
func TestShutdownConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 20, 0)
		for range 10 {
			h.start(plain, newStub(), toldOnly)
			h.start(plain, newStub(), closedOnly)
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for _, limit := range []time.Duration{time.Hour, time.Second, time.Minute, time.Hour} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(bg, limit)
				defer cancel()
				err := h.sup.Shutdown(ctx)
				if took := time.Since(begin); err != nil || took != time.Second {
					t.Errorf("Shutdown within %v returned after %v: %v", limit, took, err)
				}
			})
		}
		wg.Wait()
		c := h.sup.Counters()
		if c.Ended[conns.Shutdown] != 10 || c.Ended[conns.Aborted] != 10 {
			t.Errorf("%+v", c)
		}
		h.close()
	})
}

// Whatever starts while a Shutdown runs either is ended by it or is refused: nobody
// slips in behind.
func TestNobodySlipsInBehindShutdown(t *testing.T) {
	for range 50 {
		h := newHouse(t, conns.Unlimited, 0)
		var wg sync.WaitGroup
		begun := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-begun
				for range 20 {
					take(t, h.gate, 1)
					h.sup.Start(bg, plain, newStub(), protocol.Func(toldOnly))
				}
			})
		}
		close(begun)
		h.shutdown()
		if c := h.sup.Counters(); c.Live != 0 {
			t.Errorf("%d live behind the shutdown", c.Live)
		}
		served := h.sup.Counters().Served
		wg.Wait()
		if c := h.sup.Counters(); c.Served != served || c.Live != 0 || c.Accepted != 80 {
			t.Errorf("served %d before, then %+v", served, c)
		}
		h.close()
	}
}

// By the time the first connection is told, all that come are refused: one that was
// admitted then might never be told.
func TestNobodyIsAdmittedOnceOneIsTold(t *testing.T) {
	h := newHouse(t, conns.Unlimited, 0)
	const late = 100 // some for each shard
	first := newStub()
	first.onStop = func() {
		for range late {
			h.start(plain, newStub(), toldOnly)
		}
	}
	h.start(plain, first, toldOnly)
	h.shutdown()
	want := conns.Counters{Accepted: late + 1, Served: 1, Refused: late}
	want.Ended[conns.Shutdown], want.Ended[conns.Refused] = 1, late
	if diff := cmp.Diff(want, h.sup.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	h.close()
}

// The last answer is written and the connection told to end while data of the peer's
// lies unread. Closing such a socket resets it, and the reset overtakes the answer.
func TestShutdownDeliversTheLastAnswer(t *testing.T) {
	answer := bytes.Repeat([]byte("the last answer "), 4096)
	respond := func(told func(ctx context.Context, c *transport.Conn) error) func(chan<- bool) protocol.Func {
		return func(ready chan<- bool) protocol.Func {
			return func(ctx context.Context, c *transport.Conn) error {
				if _, err := c.Read(make([]byte, 1)); err != nil { // the rest has arrived with it
					return err
				}
				close(ready)
				return told(ctx, c)
			}
		}
	}
	write := func(c *transport.Conn) error { _, err := c.Write(answer); return err }
	for _, tc := range []struct {
		name  string
		serve func(ready chan<- bool) protocol.Func
		tell  func(h *house)
	}{
		{"written when told", respond(func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			return write(c)
		}), func(h *house) { h.shutdown() }},
		{"written before", respond(func(ctx context.Context, c *transport.Conn) error {
			defer func() { <-ctx.Done() }()
			return write(c)
		}), func(h *house) { h.shutdown() }},
		{"written by one that is quicker than its being told", respond(func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			return write(c)
		}), func(h *house) { h.sup.CancelOnly() }},
		{"closed by the protocol", respond(func(ctx context.Context, c *transport.Conn) error {
			for {
				if _, err := c.Read(make([]byte, 1)); err != nil {
					break
				}
			}
			defer c.Close()
			return write(c)
		}), func(h *house) { h.shutdown() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 2 { // each may linger for half a second
				h := newHouse(t, 1, 0)
				server, client := tcpPair(t)
				if _, err := client.Write(make([]byte, 16<<10)); err != nil {
					t.Fatal(err)
				}
				ready := make(chan bool)
				h.start(plain, server, tc.serve(ready))
				select {
				case <-ready:
				case <-time.After(10 * time.Second):
					t.Fatal("nothing arrived")
				}
				tc.tell(h)
				h.end()
				got, err := io.ReadAll(client)
				if err != nil || !bytes.Equal(got, answer) {
					t.Fatalf("the peer got %d of %d bytes, then %v", len(got), len(answer), err)
				}
				h.close()
			}
		})
	}
}

func TestListGetKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 10, 0)
		if got := list(h.sup); len(got) != 0 {
			t.Errorf("a new supervisor has %v", got)
		}
		silent := fake{shake: func(ctx context.Context, _ net.Conn) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}
		begin := time.Now()
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			c.Write([]byte("hello"))
			conns.Remove(c)
			return toldOnly(ctx, c)
		})
		time.Sleep(time.Second)
		h.start(silent, newStub(), readAll)
		synctest.Wait()

		got := list(h.sup)
		if len(got) != 2 || got[0].ID >= got[1].ID {
			t.Fatalf("List: %+v", got)
		}
		want := []conns.Info{
			{ID: got[0].ID, Transport: "tcp", RemoteAddr: stubAddr("there"), LocalAddr: stubAddr("here"), Since: begin,
				State: conns.StateServing, Served: true, Stats: transport.Stats{Writes: 1, BytesWritten: 5}},
			{ID: got[1].ID, Transport: "fake", RemoteAddr: stubAddr("there"), LocalAddr: stubAddr("here"), Since: begin.Add(time.Second),
				Counted: true},
		}
		protocols := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Protocol" }, cmp.Ignore())
		if diff := cmp.Diff(want, got, protocols); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
		for i, info := range got {
			if info.Protocol == nil {
				t.Errorf("connection %d has no protocol", i)
			}
			one, ok := h.sup.Get(info.ID)
			if diff := cmp.Diff(want[i], one, protocols); !ok || diff != "" {
				t.Errorf("Get(%d): %t (-want +got):\n%s", info.ID, ok, diff)
			}
		}

		first, second := got[0].ID, got[1].ID
		for _, unknown := range []uint64{0, second + 1, first + 1<<40} {
			if _, ok := h.sup.Get(unknown); ok {
				t.Errorf("Get(%d) found something", unknown)
			}
			if h.sup.Kill(unknown) {
				t.Errorf("Kill(%d) found something", unknown)
			}
		}
		if !h.sup.Kill(first) {
			t.Error("Kill found nothing")
		}
		if end := h.end(); end.Conn.ID() != first || end.Reason != conns.Killed {
			t.Errorf("killed %d, and %d ended with %q", first, end.Conn.ID(), end.Reason)
		}
		if h.sup.Kill(first) {
			t.Error("killed twice")
		}
		if _, ok := h.sup.Get(first); ok {
			t.Error("a connection that is gone is still to be had")
		}
		if got := list(h.sup); len(got) != 1 || got[0].ID != second {
			t.Errorf("left in the list: %+v", got)
		}
		h.close()
	})
}

// Connections come and go in any order; the list has exactly those that live.
func TestListAfterEndsInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, conns.Unlimited, 0)
		const n = 200 // several in each shard
		for range n {
			h.start(plain, newStub(), toldOnly)
		}
		synctest.Wait()
		var want []uint64
		for i, c := range list(h.sup) {
			if i%3 == 1 || i%7 == 0 {
				h.sup.Kill(c.ID)
			} else {
				want = append(want, c.ID)
			}
		}
		synctest.Wait()
		var got []uint64
		for _, c := range list(h.sup) {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
		if !slices.IsSorted(got) {
			t.Error("not oldest first")
		}
		h.close()
	})
}

// Killing one that was told already changes its reason; shutting down one that was
// killed does not.
func TestFirstFateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 0)
		h.start(plain, newStub(), after(conns.StuckGrace/2, nil))
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- h.sup.Shutdown(ctx) }()
		synctest.Wait()
		killAll(h, nil)
		cancel()
		if end := h.end(); end.Reason != conns.Killed {
			t.Errorf("ended with %+v", end)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		h.close()
	})
}

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 0)
		var kept *transport.Conn
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			kept = c
			return toldOnly(ctx, c)
		})
		synctest.Wait()
		admitted := make(chan error, 1)
		go func() { admitted <- h.gate.Reserve(bg) }()
		synctest.Wait()
		for range 2 {
			conns.Remove(kept)
		}
		if err := <-admitted; err != nil { // the parked acceptor goes on
			t.Error(err)
		}
		h.gate.Cancel()
		wantState(t, h.gate, conns.GateState{Limit: 1, Peak: 1})
		if c := h.sup.Counters(); c.Live != 1 {
			t.Errorf("it lives on, but: %+v", c)
		}
		h.start(plain, newStub(), toldOnly) // takes the place
		synctest.Wait()
		conns.Remove(kept)
		wantState(t, h.gate, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		if !h.sup.Kill(kept.ID()) {
			t.Error("who is not counted cannot be killed")
		}
		h.end()
		conns.Remove(kept) // gone for good
		wantState(t, h.gate, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		h.close()
		if h.released != 2 {
			t.Errorf("slots were given back %d times", h.released)
		}
	})
}

func TestRemoveWhatNobodyOwns(t *testing.T) {
	for name, owner := range map[string]any{"nobody": nil, "somebody else": "me"} {
		t.Run(name, func(t *testing.T) {
			var c transport.Conn
			engine.Init(&c, plain, newStub(), owner)
			defer c.Close()
			conns.Remove(&c)
		})
	}
}

// However many remove it at once, and while it ends, the slot comes back once.
func TestRemoveConcurrently(t *testing.T) {
	for range 300 {
		h := newHouse(t, 1, 0)
		var wg sync.WaitGroup
		var begun atomic.Bool
		h.start(plain, newStub(), func(_ context.Context, c *transport.Conn) error {
			for range 4 {
				wg.Go(func() {
					for !begun.Load() { // a channel would let them go one after the other
					}
					conns.Remove(c)
				})
			}
			begun.Store(true)
			return nil
		})
		h.end()
		wg.Wait()
		wantState(t, h.gate, conns.GateState{Limit: 1, Peak: 1})
		h.close()
		if h.released != 1 {
			t.Fatalf("the slot was given back %d times", h.released)
		}
	}
}

// Who gets the slot of another finds its socket closed, and the supervisor with one less:
// neither the process' descriptors nor the list ever show more than the cap.
func TestSlotIsFreeOnlyWhenTheConnectionIsGone(t *testing.T) {
	for name, serve := range map[string]protocol.Func{
		"ends":    func(context.Context, *transport.Conn) error { return nil },
		"panics":  func(context.Context, *transport.Conn) error { panic("oh dear") },
		"is told": toldOnly,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, 1, 0)
			nc := newStub()
			freed := false
			h.gate.Observe(func(s conns.GateState) {
				if s.Used > 0 {
					return
				}
				freed = true
				select {
				case <-nc.closed:
				default:
					t.Error("the socket is open yet")
				}
				if c := h.sup.Counters(); c.Live != 0 {
					t.Errorf("%d live yet", c.Live)
				}
			})
			h.start(plain, nc, serve)
			h.close()
			if !freed {
				t.Error("the slot was never free")
			}
		})
	}
}

// Observers may ask and act: no lock is held while they are called.
func TestObserversMayUseTheSupervisor(t *testing.T) {
	g := conns.NewGate(1)
	var s *conns.Supervisor
	ask := func(c *transport.Conn) {
		list(s)
		s.Get(c.ID())
		s.Counters()
		s.Kill(c.ID())
		g.State()
		conns.Remove(c)
	}
	ends := make(chan conns.ConnEnd, 1)
	s = conns.New(conns.Config{Gate: g, Started: ask, Ended: func(e conns.ConnEnd) { ask(e.Conn); ends <- e }})
	take(t, g, 1)
	s.Start(bg, plain, newStub(), protocol.Func(readAll))
	if end := receive(t, ends); end.Reason != conns.Killed {
		t.Errorf("ended with %+v", end)
	}
	if err := s.Shutdown(bg); err != nil {
		t.Error(err)
	}
	wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
}

// A supervisor without observers works too.
func TestNoObservers(t *testing.T) {
	g := conns.NewGate(2)
	s := conns.New(conns.Config{Gate: g})
	take(t, g, 1)
	s.Start(bg, plain, newStub(), protocol.Func(toldOnly))
	s.Refuse(plain, newStub())
	if err := s.Shutdown(bg); err != nil {
		t.Error(err)
	}
	want := conns.Counters{Accepted: 2, Served: 1, Refused: 1}
	want.Ended[conns.Shutdown], want.Ended[conns.Refused] = 1, 1
	if diff := cmp.Diff(want, s.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// A hundred killed at once: each ends as killed, and the others do not notice.
func TestStampede(t *testing.T) {
	const n = 100
	h := newHouse(t, 2*n, 0)
	for i := range 2 * n {
		server, client := tcpPair(t)
		h.start(plain, server, func(ctx context.Context, c *transport.Conn) error {
			_, err := c.WriteTo(c)
			return err
		})
		if i%2 == 0 {
			continue
		}
		defer func() { // the survivors still answer
			if _, err := client.Write([]byte("?")); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}()
	}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, c := range list(h.sup) {
		if i%2 == 0 {
			wg.Go(func() {
				<-begin
				if !h.sup.Kill(c.ID) {
					t.Errorf("connection %d was not there", c.ID)
				}
			})
		}
	}
	t.Cleanup(h.close)
	close(begin)
	wg.Wait()
	for range n {
		if end := h.end(); end.Reason != conns.Killed {
			t.Errorf("ended with %+v", end)
		}
	}
	wantState(t, h.gate, conns.GateState{Limit: 2 * n, Used: n, Peak: 2 * n})
	if c := h.sup.Counters(); c.Live != n || c.Ended[conns.Killed] != n || imbalance(c) != "" {
		t.Errorf("%+v", c)
	}
	take(t, h.gate, n) // all the slots are there again
	for range n {
		h.gate.Release()
	}
}

// One that panics does not end those beside it.
func TestPanicCostsItsOwnOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 10, 0)
		h.start(plain, newStub(), toldOnly)
		for range 5 {
			h.start(plain, newStub(), func(context.Context, *transport.Conn) error { panic("oh dear") })
			h.start(fake{shake: func(context.Context, net.Conn) (net.Conn, error) { panic("oh dear") }}, newStub(), readAll)
			for range 2 {
				if end := h.end(); end.Reason != conns.Panicked {
					t.Errorf("ended with %+v", end)
				}
			}
		}
		if c := h.sup.Counters(); c.Live != 1 || c.Served != 5 || c.HandshakeFailed != 5 {
			t.Errorf("%+v", c)
		}
		h.close()
	})
}

// What the handshake returned is what the protocol speaks over.
func TestHandshakeReplacesTheConnection(t *testing.T) {
	h := newHouse(t, 1, time.Minute)
	server, client := net.Pipe()
	defer client.Close()
	h.start(fake{shake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the handshake has no limit")
		}
		return shouting{nc}, nil
	}}, server, func(ctx context.Context, c *transport.Conn) error {
		if _, ok := ctx.Deadline(); ok {
			t.Error("the handshake's limit holds for the protocol")
		}
		_, err := c.Write([]byte("hello"))
		return err
	})
	got, err := io.ReadAll(client)
	if string(got) != "HELLO" || err != nil {
		t.Errorf("the peer got %q, %v", got, err)
	}
	h.close()
}

type shouting struct{ net.Conn }

func (s shouting) Write(p []byte) (int, error) { return s.Conn.Write(bytes.ToUpper(p)) }
