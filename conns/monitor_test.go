package conns_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// writeEvery returns a protocol that writes now and then until that fails or it is asked to stop.
func writeEvery(d time.Duration) protocol.Func {
	return func(ctx context.Context, c *transport.Conn) error {
		for ctx.Err() == nil {
			if _, err := c.Write([]byte{'.'}); err != nil {
				return err
			}
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		return context.Cause(ctx)
	}
}

// The monitor asks a connection to stop when it reaches a limit, at most an eighth of the limit or
// a second late, and closes it after the Grace.
func TestMonitorEnforcesLimits(t *testing.T) {
	const limit, grace = 12 * time.Second, 5 * time.Second
	for _, tc := range []struct {
		name   string
		limits conns.Limits
		serve  protocol.Func
		want   conns.Reason // 0: it is not ended
		after  time.Duration
	}{
		{"idle", conns.Limits{IdleTimeout: limit}, readAll, conns.IdleTimeout, limit},
		{"idle, closed after the grace", conns.Limits{IdleTimeout: limit}, untilSocketCloses, conns.IdleTimeout, limit + grace},
		{"not idle while it writes", conns.Limits{IdleTimeout: limit}, writeEvery(limit / 2), 0, 0},
		{"reads nothing", conns.Limits{ReadTimeout: limit}, writeEvery(time.Second), conns.ReadTimeout, limit},
		{"writes nothing", conns.Limits{WriteTimeout: limit}, readAll, conns.WriteTimeout, limit},
		{"writes", conns.Limits{WriteTimeout: limit}, writeEvery(limit / 2), 0, 0},
		{"lifetime", conns.Limits{Lifetime: limit}, writeEvery(time.Second), conns.Expired, limit},
		{"no limit", conns.Limits{}, readAll, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, 1, 0)
				h.sup.Set(conns.Settings{Limits: tc.limits, Grace: grace})
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				go h.sup.Monitor(ctx)
				h.start(plain, newStub(), tc.serve)
				if tc.want == 0 {
					time.Sleep(time.Hour)
					if all := list(h.sup); len(all) != 1 || all[0].State() != "serving" {
						t.Errorf("got %+v after an hour, want one connection that is served", all)
					}
				} else {
					end := h.end()
					wantReason(t, end, tc.want)
					if late := end.Duration - tc.after; late < 0 || late > 3*time.Second {
						t.Errorf("got the end after %v, want %v and at most 3s more", end.Duration, tc.after)
					}
				}
				cancel()
				h.close()
			})
		})
	}
}

// A connection that was asked to stop is in the state "ending" until its protocol has returned.
func TestEndingState(t *testing.T) {
	const grace = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, 0)
		h.sup.Set(conns.Settings{Grace: grace})
		h.start(plain, newStub(), untilSocketCloses)
		synctest.Wait()
		h.sup.Evict(conns.EvictOldest, func(int) int { return 1 })
		if all := list(h.sup); len(all) != 1 || all[0].State() != "ending" || !all[0].Ending {
			t.Errorf("got %+v, want one connection that is ending", all)
		}
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		begin := time.Now()
		go h.sup.Monitor(ctx)
		wantReason(t, h.end(), conns.Evicted)
		if took := time.Since(begin); took < grace || took > grace+time.Second {
			t.Errorf("got the end after %v, want about %v", took, grace)
		}
		cancel()
		h.close()
	})
}
