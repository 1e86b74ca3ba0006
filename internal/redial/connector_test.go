package redial

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
)

// testLink discards what the server sends.
type testLink struct{ Conn }

func (l *testLink) read() {
	_, err := io.Copy(io.Discard, l.Net)
	if err == nil {
		err = io.EOF
	}
	l.Fail(err)
}

// testClient is a client without a protocol that records its disconnects.
type testClient struct {
	*Connector[*testLink]
	handshake   func(ctx context.Context, l *testLink, n int) error // of the nth connection, from 0; set before Start
	connections int
	disconnects []disconnect
	ended       atomic.Int32
}

// disconnect is a call of the hook.
type disconnect struct {
	linked bool // it was a link that has ended
	at     time.Duration
	err    error
}

var errGaveUp = errors.New("gave up")

func newTestClient(opts Options) *testClient {
	began := time.Now()
	c := &testClient{handshake: func(context.Context, *testLink, int) error { return nil }}
	c.Connector = New(context.Background(), opts, Hooks[*testLink]{
		Connect: func(ctx context.Context) (*testLink, error) {
			return c.Open(ctx, func(nc net.Conn) *testLink {
				l := new(testLink)
				l.Start(c.Context(), nc, l.read)
				return l
			}, func(ctx context.Context, l *testLink) error {
				c.connections++
				return c.handshake(ctx, l, c.connections-1)
			})
		},
		Disconnected: func(l *testLink, err error) {
			c.disconnects = append(c.disconnects, disconnect{l != nil, time.Since(began), err})
		},
		Ended:     func() { c.ended.Add(1) },
		ErrGaveUp: errGaveUp,
	})
	return c
}

// testServer accepts connections in memory and closes each after a lifetime.
type testServer struct {
	mem *transport.Mem
	ln  net.Listener
}

// newTestServer closes the nth connection after the nth lifetime and then stops listening. A
// negative lifetime is endless.
func newTestServer(t *testing.T, lifetimes ...time.Duration) *testServer {
	t.Helper()
	s := &testServer{mem: new(transport.Mem)}
	s.listen(t, lifetimes...)
	return s
}

func (s *testServer) listen(t *testing.T, lifetimes ...time.Duration) {
	t.Helper()
	ln, err := s.mem.Listen(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	done := make(chan struct{})
	t.Cleanup(func() { close(done); ln.Close() })
	go func() {
		defer ln.Close()
		for _, d := range lifetimes {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			if d < 0 {
				<-done
				return
			}
			time.Sleep(d)
			nc.Close()
		}
	}()
}

// between reports whether d is within the bounds of a wait of most.
func between(d, most time.Duration) bool { return d >= most/2 && d <= most }

func TestBackoffDoublesUpToMaxBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, 0) // one connection, then none
		c := newTestClient(Options{Transport: s.mem, Addr: "a", MinBackoff: time.Second, MaxBackoff: 5 * time.Second})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		c.Close(errors.New("over"))
		last := c.disconnects[0]
		if !last.linked || !errors.Is(last.err, io.EOF) {
			t.Errorf("first disconnect: got %+v, want the link and EOF", last)
		}
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second}
		for i, most := range want {
			d := c.disconnects[i+1]
			if wait := d.at - last.at; d.linked || d.err == nil || !between(wait, most) {
				t.Errorf("failure %d: got %+v after %v, want no link and %v to %v", i, d, wait, most/2, most)
			}
			last = d
		}
	})
}

func TestBackoffResetsAfterALastingConnection(t *testing.T) {
	const minBackoff, maxBackoff = time.Second, 16 * time.Second
	for name, c := range map[string]struct {
		lifetime time.Duration
		want     time.Duration // the wait after it
	}{
		"short": {maxBackoff, 8 * time.Second},
		"long":  {maxBackoff + 1, minBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, 0, 0, 0, c.lifetime, 0)
				client := newTestClient(Options{Transport: s.mem, Addr: "a", MinBackoff: minBackoff, MaxBackoff: maxBackoff})
				if err := client.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				client.Close(errors.New("over"))
				all := client.disconnects
				if len(all) < 5 {
					t.Fatalf("got %d disconnects, want at least 5", len(all))
				}
				if wait := all[4].at - all[3].at; !between(wait, c.want) {
					t.Errorf("wait after %v: got %v, want %v to %v", c.lifetime, wait, c.want/2, c.want)
				}
			})
		})
	}
}

func TestGivesUpAfterMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, time.Hour)
		c := newTestClient(Options{Transport: s.mem, Addr: "a", MaxAttempts: 3})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, errGaveUp) {
			t.Errorf("Err: got %v, want %v", err, errGaveUp)
		}
		if _, err := c.Await(t.Context()); !errors.Is(err, errGaveUp) {
			t.Errorf("Await: got %v, want %v", err, errGaveUp)
		}
		c.Close(errors.New("over"))
		if n := len(c.disconnects); n != 4 { // the link, and three attempts
			t.Errorf("disconnects: got %d, want 4", n)
		}
		if n := c.ended.Load(); n != 1 {
			t.Errorf("Ended was called: got %d times, want 1", n)
		}
	})
}

// A failed first connect is not repeated.
func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestClient(Options{Transport: new(transport.Mem), Addr: "a"})
		err := c.Start(t.Context())
		if err == nil || c.Err() != err {
			t.Errorf("got %v and Err %v, want the same error", err, c.Err())
		}
		c.Close(errors.New("over")) // returns
		if len(c.disconnects) != 0 || c.ended.Load() != 0 {
			t.Errorf("hooks: got %d disconnects and %d ends, want none", len(c.disconnects), c.ended.Load())
		}
	})
}

// Close interrupts the wait of a backoff and a handshake at once.
func TestCloseInterrupts(t *testing.T) {
	over := errors.New("over")
	for name, c := range map[string]struct {
		lifetimes []time.Duration
		sleep     time.Duration // until the client is closed
	}{
		"connected": {[]time.Duration{-1}, time.Second},
		"backoff":   {[]time.Duration{0}, time.Second},
		"handshake": {[]time.Duration{0, -1}, 90 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, c.lifetimes...)
				client := newTestClient(Options{Transport: s.mem, Addr: "a", MinBackoff: time.Hour, DialTimeout: 24 * time.Hour})
				client.handshake = func(ctx context.Context, _ *testLink, n int) error {
					if n == 0 {
						return nil
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}
				if err := client.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.sleep)
				waiting := make(chan error)
				if name != "connected" {
					go func() { _, err := client.Await(t.Context()); waiting <- err }()
					synctest.Wait()
				}
				began := time.Now()
				client.Close(over)
				if d := time.Since(began); d != 0 {
					t.Errorf("Close took %v, want 0s", d)
				}
				if name != "connected" {
					if err := <-waiting; !errors.Is(err, over) {
						t.Errorf("Await: got %v, want %v", err, over)
					}
				}
				if err := client.Err(); !errors.Is(err, over) {
					t.Errorf("Err: got %v, want %v", err, over)
				}
			})
		})
	}
}

// The context of Start does not outlive Start.
func TestContextOfStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, -1)
		c := newTestClient(Options{Transport: s.mem, Addr: "a"})
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if err := c.Err(); err != nil {
			t.Errorf("after cancel: got %v, want a running client", err)
		}
		c.Close(errors.New("over"))
	})
}

func TestHandshakeFails(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		handshake func(context.Context, *testLink) error
		want      error
	}{
		"error":   {func(context.Context, *testLink) error { return refused }, refused},
		"timeout": {func(ctx context.Context, _ *testLink) error { <-ctx.Done(); return context.Cause(ctx) }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, -1)
				client := newTestClient(Options{Transport: s.mem, Addr: "a"})
				var link *testLink
				client.handshake = func(ctx context.Context, l *testLink, _ int) error { link = l; return c.handshake(ctx, l) }
				began := time.Now()
				if err := client.Start(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if d := time.Since(began); d > DefaultDialTimeout {
					t.Errorf("Start took %v, want at most %v", d, DefaultDialTimeout)
				}
				if err := link.Err(); !errors.Is(err, c.want) {
					t.Errorf("Err of the link: got %v, want %v", err, c.want)
				}
			})
		})
	}
}

// A hook ends the client by Stop: no further connect follows.
func TestStopInAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused for good")
		s := newTestServer(t, 0, -1)
		c := newTestClient(Options{Transport: s.mem, Addr: "a"})
		c.handshake = func(_ context.Context, _ *testLink, n int) error {
			if n == 0 {
				return nil
			}
			c.Stop(refused)
			return refused
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		c.Close(errors.New("over"))
		if err := c.Err(); err != refused {
			t.Errorf("Err: got %v, want %v", err, refused)
		}
		if n := len(c.disconnects); n != 2 {
			t.Errorf("disconnects: got %d, want 2", n)
		}
	})
}

// Await waits for the next link, and no longer than its context.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, 0)
		c := newTestClient(Options{Transport: s.mem, Addr: "a", MinBackoff: time.Minute})
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if l := c.Link(); l != nil {
			t.Errorf("Link while disconnected: got %v, want nil", l)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await with a timeout: got %v, want %v", err, context.DeadlineExceeded)
		}
		s.listen(t, -1)
		l, err := c.Await(t.Context())
		if err != nil || l != c.Link() {
			t.Errorf("Await: got %v, %v, want the link", l, err)
		}
		c.Close(errors.New("over"))
	})
}

// The first error of a Conn counts, and the end of its context ends it with the cause.
func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := errors.New("first")
		for name, end := range map[string]func(*testLink, context.CancelCauseFunc){
			"Fail":    func(l *testLink, _ context.CancelCauseFunc) { l.Fail(first); l.Fail(io.EOF) },
			"context": func(_ *testLink, cancel context.CancelCauseFunc) { cancel(first) },
		} {
			a, b := net.Pipe()
			ctx, cancel := context.WithCancelCause(t.Context())
			l := new(testLink)
			l.Start(ctx, a, l.read)
			if err := l.Err(); err != nil {
				t.Errorf("%s: got %v before the end, want nil", name, err)
			}
			end(l, cancel)
			<-l.Done()
			l.Wait()
			if err := l.Err(); err != first {
				t.Errorf("%s: got %v, want %v", name, err, first)
			}
			cancel(nil)
			b.Close()
		}
	})
}
