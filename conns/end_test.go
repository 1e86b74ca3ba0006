package conns_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// End asks connections to stop with its reason as the cause, and Monitor closes those that remain
// after the grace.
func TestEnd(t *testing.T) {
	const grace = 10 * time.Second
	for _, tc := range []struct {
		name  string
		grace time.Duration
		serve protocol.Func
		after time.Duration // at least; a check of Monitor later at most
	}{
		{"returns when its read fails", grace, readAll, 0},
		{"returns when its context ends", grace, untilCancelled, 0},
		{"takes its time", grace, func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			time.Sleep(grace / 2)
			_, err := c.Write([]byte("bye"))
			return err
		}, grace / 2},
		{"does not return", grace, untilSocketCloses, grace},
		{"no grace", 0, untilSocketCloses, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, 1, 0)
				h.sup.Set(conns.Settings{Grace: tc.grace})
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				go h.sup.Monitor(ctx)
				cause := make(chan error, 1)
				h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
					context.AfterFunc(ctx, func() { cause <- context.Cause(ctx) })
					return tc.serve(ctx, c)
				})
				synctest.Wait()
				if n := h.sup.End(conns.Query{}); n != 1 {
					t.Errorf("End: got %d, want 1", n)
				}
				begin := time.Now()
				if n := h.sup.End(conns.Query{}); n != 0 {
					t.Errorf("second End: got %d, want 0", n)
				}
				wantReason(t, h.end(), conns.EndRequested)
				if late := time.Since(begin) - tc.after; late < 0 || late > time.Second {
					t.Errorf("got the end after %v, want %v and at most 1s more", time.Since(begin), tc.after)
				}
				if err := receive(t, cause); err != conns.EndRequested {
					t.Errorf("cause: got %v, want %v", err, conns.EndRequested)
				}
				cancel()
				h.close()
			})
		})
	}
}

// End ends what its query selects, and nothing else.
func TestEndSelects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 3, 0)
		h.sup.Set(conns.Settings{Grace: time.Hour})
		for _, user := range []string{"ann", "bob", "ann"} {
			h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
				c.SetLabel("user", user)
				return untilCancelled(ctx, c)
			})
		}
		synctest.Wait()
		ann := func(i *conns.Info) bool {
			return len(i.Labels) == 1 && i.Labels[0] == transport.Label{Key: "user", Value: "ann"}
		}
		if n := h.sup.End(conns.Query{Match: ann}); n != 2 {
			t.Errorf("End: got %d, want 2", n)
		}
		wantReason(t, h.end(), conns.EndRequested)
		wantReason(t, h.end(), conns.EndRequested)
		synctest.Wait()
		if all := list(h.sup); len(all) != 1 || all[0].Labels[0].Value != "bob" || all[0].Ending {
			t.Errorf("got %+v, want only the connection of bob, which is not ending", all)
		}
		for _, i := range h.sup.RecentlyClosed() {
			if len(i.Labels) != 1 || i.Labels[0].Value != "ann" {
				t.Errorf("closed connection: got labels %v, want user=ann", i.Labels)
			}
		}
		h.close()
	})
}

// A connection in its handshake ends too, for the same reason.
func TestEndDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, time.Minute)
		h.sup.Set(conns.Settings{Grace: time.Second, HandshakeTimeout: time.Minute})
		h.start(silent, newStub(), readAll)
		synctest.Wait()
		h.sup.End(conns.Query{})
		wantReason(t, h.end(), conns.EndRequested)
		h.close()
	})
}

// An answer that is written after the request to stop arrives.
func TestEndDeliversTheLastAnswer(t *testing.T) {
	h := newHarness(t, 1, 0)
	h.sup.Set(conns.Settings{Grace: time.Minute})
	server, client := tcpPair(t)
	h.start(plain, server, func(ctx context.Context, c *transport.Conn) error {
		<-ctx.Done()
		_, err := c.Write([]byte("the last answer"))
		return err
	})
	client.Write([]byte("unread")) // a close with unread data would send RST
	h.sup.End(conns.Query{})
	got, err := io.ReadAll(client)
	if err != nil || string(got) != "the last answer" {
		t.Errorf("client: got %q, %v, want the last answer", got, err)
	}
	wantReason(t, h.end(), conns.EndRequested)
	h.close()
}

// spreadDrain drains n connections over a minute and returns when each was asked.
func spreadDrain(t *testing.T, h *harness, n int, ctx context.Context, o conns.DrainOptions) (asked []time.Duration, err error) {
	begin := time.Now()
	times := make(chan time.Duration, n)
	for range n {
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			times <- time.Since(begin)
			if cause := context.Cause(ctx); !errors.Is(cause, protocol.ErrShutdown) && cause != conns.Aborted {
				t.Errorf("cause: got %v, want %v", cause, protocol.ErrShutdown)
			}
			return context.Cause(ctx)
		})
	}
	synctest.Wait()
	err = h.sup.Drain(ctx, o)
	close(times)
	for d := range times {
		asked = append(asked, d)
	}
	return asked, err
}

// Connections are asked to stop at random times over the spread.
func TestDrainSpreads(t *testing.T) {
	const n, spread = 1000, time.Minute
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, n, 0)
		reported := 0
		times, err := spreadDrain(t, h, n, bg, conns.DrainOptions{Spread: spread, Asked: func(n int) { reported += n }})
		if err != nil || len(times) != n || reported != n {
			t.Fatalf("got %d asked, %d reported, error %v, want %d and no error", len(times), reported, err, n)
		}
		var perTenth [10]int
		for _, d := range times {
			if d > spread {
				t.Fatalf("got one asked after %v, want at most %v", d, spread)
			}
			perTenth[min(int(10*d/spread), 9)]++
		}
		for i, got := range perTenth {
			if got < n/20 || got > n/5 { // 100 are expected; 50 are five deviations off
				t.Errorf("got %d asked in tenth %d of the period, want about %d: %v", got, i, n/10, perTenth)
			}
		}
		h.close()
	})
}

// A drain that is expedited asks the remaining connections at once; one whose context ends closes
// them.
func TestDrainSpreadEndsEarly(t *testing.T) {
	const n, spread, early = 100, time.Hour, 10 * time.Minute
	for _, tc := range []struct {
		name  string
		start func() (ctx, expedited context.Context, cancel context.CancelFunc)
		want  conns.Reason // of some connections
	}{
		{"expedited", func() (context.Context, context.Context, context.CancelFunc) {
			expedited, cancel := context.WithTimeout(bg, early)
			return bg, expedited, cancel
		}, conns.Shutdown},
		{"cancelled", func() (context.Context, context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(bg, early)
			return ctx, nil, cancel
		}, conns.Aborted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, n, 0)
				ctx, expedited, cancel := tc.start()
				defer cancel()
				begin := time.Now()
				asked, err := spreadDrain(t, h, n, ctx, conns.DrainOptions{Spread: spread, Expedited: expedited})
				if took := time.Since(begin); err != nil || len(asked) != n || took != early {
					t.Errorf("got %d asked in %v, error %v, want %d in %v", len(asked), took, err, n, early)
				}
				if got := h.sup.Counters().Ended; got[tc.want] < n/2 || got[conns.Shutdown] == 0 {
					t.Errorf("got %d ends %q and %d %q, want most of the former and some of the latter", got[tc.want], tc.want, got[conns.Shutdown], conns.Shutdown)
				}
				h.close()
			})
		})
	}
}

// A drain ends as soon as its last connection has ended, not at the end of the spread.
func TestDrainSpreadWithoutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, 0)
		h.start(plain, newStub(), func(context.Context, *transport.Conn) error {
			time.Sleep(time.Second)
			return nil
		})
		begin := time.Now()
		if err := h.sup.Drain(bg, conns.DrainOptions{Spread: time.Hour}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("got a drain of %v, want 1s", took)
		}
		h.close()
	})
}

// Monitor enforces limits on connections that a drain has not asked yet, and leaves those alone
// that it has asked: they may take as long as the drain.
func TestMonitorDuringDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 2, 0)
		h.sup.Set(conns.Settings{Limits: conns.Limits{IdleTimeout: time.Minute}, Grace: time.Second})
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		go h.sup.Monitor(ctx)
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			<-ctx.Done()
			time.Sleep(30 * time.Minute)
			return context.Cause(ctx)
		})
		synctest.Wait()
		if err := h.sup.Drain(bg, conns.DrainOptions{}); err != nil {
			t.Error(err)
		}
		wantReason(t, h.end(), conns.Shutdown)
		cancel()
		h.close()

		h = newHarness(t, 1, 0)
		h.sup.Set(conns.Settings{Limits: conns.Limits{IdleTimeout: time.Minute}, Grace: time.Second})
		ctx, cancel = context.WithCancel(bg)
		defer cancel()
		go h.sup.Monitor(ctx)
		h.start(plain, newStub(), untilSocketCloses)
		synctest.Wait()
		if err := h.sup.Drain(bg, conns.DrainOptions{Spread: 10000 * time.Hour}); err != nil {
			t.Error(err)
		}
		wantReason(t, h.end(), conns.IdleTimeout)
		cancel()
		h.close()
	})
}
