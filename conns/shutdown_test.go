package conns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Drain first cancels the context, then makes reads fail while writes still arrive, and closes
// at the limit.
func TestShutdownInOrder(t *testing.T) {
	for _, n := range []network{loopback, pipe} {
		t.Run(string(n), func(t *testing.T) {
			h := newHarness(t, 1, 0)
			server, client := n.pair(t)
			ready, closed := make(chan bool), make(chan error, 1)
			h.start(plain, server, func(ctx context.Context, c *transport.Conn) error {
				close(ready)
				_, err := c.Read(make([]byte, 1))
				if cause := context.Cause(ctx); !errors.Is(cause, protocol.ErrShutdown) {
					t.Errorf("when the read failed: got the cause %v, want %v", cause, protocol.ErrShutdown)
				}
				if !errors.Is(err, protocol.ErrShutdown) {
					t.Errorf("blocked read: got %v, want %v", err, protocol.ErrShutdown)
				}
				c.SetReadDeadline(time.Now().Add(time.Hour)) // does not undo it
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, protocol.ErrShutdown) {
					t.Errorf("later read: got %v, want %v", err, protocol.ErrShutdown)
				}
				for i := range 3 {
					if _, err := fmt.Fprintf(c, "answer %d\n", i); err != nil {
						t.Errorf("write before the limit: got %v, want nil", err)
					}
				}
				for { // until the limit
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
			go func() { done <- h.sup.Drain(ctx, conns.DrainOptions{}) }()
			want := "answer 0\nanswer 1\nanswer 2\n..."
			got := make([]byte, len(want))
			if _, err := io.ReadFull(client, got); err != nil || string(got) != want {
				t.Errorf("client: got %q, %v, want %q, nil", got, err, want)
			}
			go io.Copy(io.Discard, client)
			select {
			case err := <-closed:
				t.Errorf("got a close before the limit (%v), want none", err)
			case err := <-done:
				t.Errorf("got a return of Drain before the limit (%v), want none", err)
			default:
			}
			cancel()
			if err := receive(t, done); err != nil {
				t.Errorf("Drain: got %v, want nil", err)
			}
			wantReason(t, h.end(), conns.Aborted)
			h.close()
		})
	}
}

// Drain returns at the exact time.
func TestShutdownTimes(t *testing.T) {
	const limit = 5 * time.Second
	for _, tc := range []struct {
		name   string
		limit  time.Duration // negative: ctx has ended already
		serve  protocol.Func
		want   time.Duration
		reason conns.Reason
		stuck  bool
	}{
		{"returns", limit, untilCancelled, 0, conns.Shutdown, false},
		{"reads", limit, readAll, 0, conns.Shutdown, false},
		{"needs a while", limit, returnAfter(3*time.Second, nil), 3 * time.Second, conns.Shutdown, false},
		{"closed at the limit", limit, untilSocketCloses, limit, conns.Aborted, false},
		{"needs a part of the grace", limit, returnAfter(limit+conns.StuckGrace/2, nil), limit + conns.StuckGrace/2, conns.Aborted, false},
		{"never returns", limit, returnAfter(20*time.Second, nil), limit + conns.StuckGrace, conns.Aborted, true},
		{"no time", -1, untilSocketCloses, 0, conns.Aborted, false},
		{"no time, never returns", -1, returnAfter(20*time.Second, nil), conns.StuckGrace, conns.Aborted, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, 1, 0)
				h.start(plain, newStub(), tc.serve)
				synctest.Wait()
				begin := time.Now()
				ctx, cancel := context.WithTimeout(bg, tc.limit)
				defer cancel()
				err := h.sup.Drain(ctx, conns.DrainOptions{})
				took := time.Since(begin)
				var stuck *conns.StuckError
				if took != tc.want || errors.As(err, &stuck) != tc.stuck || err != nil && !tc.stuck {
					t.Errorf("got %v after %v, want a StuckError %t after %v", err, took, tc.stuck, tc.want)
				}
				wantReason(t, h.end(), tc.reason) // also after a StuckError
				h.close()
			})
		})
	}
}

func TestStuckError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 12
		h := newHarness(t, math.MaxInt, 0)
		release := make(chan struct{})
		stuck := stuckProtocol{release}
		var want []uint64
		for range n {
			useSlots(t, h.gate, 1)
			h.sup.Start(bg, plain, newStub(), stuck)
			h.start(plain, newStub(), untilCancelled) // not listed, because it returns
		}
		h.start(fake{shake: func(_ context.Context, nc net.Conn) (net.Conn, error) { <-release; return nc, nil }}, newStub(), untilCancelled)
		synctest.Wait()
		for _, c := range list(h.sup) {
			if _, ok := c.Protocol.(stuckProtocol); ok || !c.Served {
				want = append(want, c.ID)
			}
		}
		ctx, cancel := context.WithCancel(bg)
		cancel()
		err := h.sup.Drain(ctx, conns.DrainOptions{})
		var e *conns.StuckError
		if !errors.As(err, &e) {
			t.Fatalf("Drain: got %v, want a StuckError", err)
		}
		var got []uint64
		for _, c := range e.Conns {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) != n+1 {
			t.Errorf("stuck connections (-want +got):\n%s", diff)
		}
		for _, part := range []string{"13 protocols", fmt.Sprintf("#%d from remote (conns_test.stuckProtocol)", want[0]), "and 3 more"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("got %q, want a text with %q", err, part)
			}
		}
		// They keep their slots until they return, and a later Drain lists them again.
		if used := h.gate.State().Used; used != n+1 {
			t.Errorf("got %d used slots, want %d", used, n+1)
		}
		if err := h.sup.Drain(ctx, conns.DrainOptions{}); !errors.As(err, &e) || len(e.Conns) != n+1 {
			t.Errorf("second Drain: got %v, want a StuckError with %d connections", err, n+1)
		}
		close(release)
		h.close()
	})
}

type stuckProtocol struct{ release chan struct{} }

func (p stuckProtocol) Serve(context.Context, *transport.Conn) error { <-p.release; return nil }

func TestShutdownWithoutConnections(t *testing.T) {
	h := newHarness(t, 1, 0)
	for range 2 {
		if err := h.sup.Drain(bg, conns.DrainOptions{}); err != nil {
			t.Errorf("Drain: got %v, want nil", err)
		}
	}
	abortServer(h, nil)
	h.close()
}

// Several calls at once, each with its own limit: the shortest closes, and all return.
func TestShutdownConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 20, 0)
		for range 10 {
			h.start(plain, newStub(), untilCancelled)
			h.start(plain, newStub(), untilSocketCloses)
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for _, limit := range []time.Duration{time.Hour, time.Second, time.Minute, time.Hour} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(bg, limit)
				defer cancel()
				err := h.sup.Drain(ctx, conns.DrainOptions{})
				if took := time.Since(begin); err != nil || took != time.Second {
					t.Errorf("Drain within %v: got %v after %v, want nil after 1s", limit, err, took)
				}
			})
		}
		wg.Wait()
		c := h.sup.Counters()
		if c.Ended[conns.Shutdown] != 10 || c.Ended[conns.Aborted] != 10 {
			t.Errorf("got %+v, want 10 ended by Drain and 10 Aborted", c)
		}
		h.close()
	})
}

// A connection that is started during a Drain is ended by it or refused.
func TestStartDuringShutdown(t *testing.T) {
	for range 50 {
		h := newHarness(t, math.MaxInt, 0)
		var wg sync.WaitGroup
		begun := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-begun
				for range 20 {
					useSlots(t, h.gate, 1)
					h.sup.Start(bg, plain, newStub(), protocol.Func(untilCancelled))
				}
			})
		}
		close(begun)
		h.shutdown()
		if c := h.sup.Counters(); c.Live != 0 {
			t.Errorf("after Drain: got %d live connections, want 0", c.Live)
		}
		served := h.sup.Counters().Served
		wg.Wait()
		if c := h.sup.Counters(); c.Served != served || c.Live != 0 || c.Accepted != 80 {
			t.Errorf("got %+v, want 80 accepted, %d served and none live", c, served)
		}
		h.close()
	}
}

// When the first connection is asked to stop, new ones are refused already: Drain might not ask
// one that was registered later.
func TestShutdownRefusesBeforeItAsks(t *testing.T) {
	h := newHarness(t, math.MaxInt, 0)
	const late = 100 // some for each shard
	first := newStub()
	first.onStop = func() {
		for range late {
			h.start(plain, newStub(), untilCancelled)
		}
	}
	h.start(plain, first, untilCancelled)
	h.shutdown()
	want := conns.Counters{Accepted: late + 1, Served: 1, Refused: late}
	want.Ended[conns.Shutdown], want.Ended[conns.Refused] = 1, late
	wantCounters(t, h.sup, want)
	h.close()
}

// respond returns a protocol that reads a byte, closes ready, and calls finish.
func respond(finish func(ctx context.Context, c *transport.Conn) error) func(chan<- bool) protocol.Func {
	return func(ready chan<- bool) protocol.Func {
		return func(ctx context.Context, c *transport.Conn) error {
			if _, err := c.Read(make([]byte, 1)); err != nil { // the rest has arrived with it
				return err
			}
			close(ready)
			return finish(ctx, c)
		}
	}
}

// The last answer arrives although the socket has unread data when it is closed. close(2) then
// sends RST, which can overtake the answer.
func TestShutdownDeliversTheLastAnswer(t *testing.T) {
	t.Parallel()
	answer := bytes.Repeat([]byte("the last answer "), 4096)
	write := func(c *transport.Conn) error { _, err := c.Write(answer); return err }
	for _, tc := range []struct {
		name  string
		serve func(ready chan<- bool) protocol.Func
		stop  func(h *harness)
	}{
		{"written when asked to stop", respond(func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			return write(c)
		}), func(h *harness) { h.shutdown() }},
		{"written before", respond(func(ctx context.Context, c *transport.Conn) error {
			defer func() { <-ctx.Done() }()
			return write(c)
		}), func(h *harness) { h.shutdown() }},
		{"written before reads fail", respond(func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			return write(c)
		}), func(h *harness) { h.sup.CancelOnly() }},
		{"closed by the protocol", respond(func(ctx context.Context, c *transport.Conn) error {
			for {
				if _, err := c.Read(make([]byte, 1)); err != nil {
					break
				}
			}
			defer c.Close()
			return write(c)
		}), func(h *harness) { h.shutdown() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 2 { // each may linger for half a second
				h := newHarness(t, 1, 0)
				server, client := tcpPair(t)
				if _, err := client.Write(make([]byte, 16<<10)); err != nil {
					t.Fatal(err)
				}
				ready := make(chan bool)
				h.start(plain, server, tc.serve(ready))
				select {
				case <-ready:
				case <-time.After(10 * time.Second):
					t.Fatal("got no data, want some")
				}
				tc.stop(h)
				h.end()
				got, err := io.ReadAll(client)
				if err != nil || !bytes.Equal(got, answer) {
					t.Fatalf("client: got %d bytes, %v, want %d, nil", len(got), err, len(answer))
				}
				h.close()
			}
		})
	}
}
