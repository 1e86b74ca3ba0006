package conns_test

import (
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// The contracts of the model with the real scheduler: acceptors, a limit that changes, connections
// that end in every way, are killed and removed, and two shutdowns in the middle.
func TestStress(t *testing.T) {
	const top, acceptors = 8, 6
	total := int64(3000)
	if testing.Short() {
		total = 500
	}
	var (
		faults                       faultLog
		inside, served, began, ended atomic.Int64
		over                         atomic.Bool // Shutdown has returned
		g                            = conns.NewGate(top)
		wg, watchers                 sync.WaitGroup
		stop                         = make(chan struct{})
	)
	used := 0
	g.Observe(func(s conns.GateState) {
		if s.Used > used && s.Used > s.Limit {
			faults.add("got %d used slots as one was added, want at most %d", s.Used, s.Limit)
		}
		used = s.Used
	})
	ends := make(map[*transport.Conn]bool)
	var endsMu sync.Mutex
	sup := conns.New(conns.Config{
		Gate: g, Settings: conns.Settings{HandshakeTimeout: time.Second},
		Started: func(*transport.Conn) {
			began.Add(1)
			if over.Load() {
				faults.add("got Started after Shutdown has returned, want Refused")
			}
		},
		Ended: func(e conns.ConnEnd) {
			ended.Add(1)
			endsMu.Lock()
			defer endsMu.Unlock()
			if ends[e.Conn] {
				faults.add("connection %d: got Ended twice, want once", e.Conn.ID())
			}
			ends[e.Conn] = true
		},
	})
	p := protocol.Func(func(ctx context.Context, c *transport.Conn) error {
		served.Add(1)
		var once sync.Once
		leave := func() { once.Do(func() { inside.Add(-1) }) }
		defer leave()
		if n := inside.Add(1); n > top {
			faults.add("got %d counted connections, want at most %d", n, top)
		}
		for range rand.IntN(4) {
			runtime.Gosched()
		}
		switch rand.IntN(8) {
		case 0:
			panic("a test")
		case 1:
			runtime.Goexit()
		case 2:
			return errBoom
		case 3: // no longer counted
			leave()
			conns.Remove(c)
			conns.Remove(c)
			runtime.Gosched()
		case 4: // until it is killed or asked to stop
			_, err := c.Read(make([]byte, 1))
			return err
		}
		return nil
	})
	transports := []fake{
		{plain: true},
		{},
		{shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom }},
		{shake: func(context.Context, net.Conn) (net.Conn, error) { panic("a test") }},
	}
	every := func(f func()) {
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
					runtime.Gosched()
				}
			}
		})
	}
	every(func() { // 0 sometimes, but not last: acceptors would wait for ever
		g.SetLimit(rand.IntN(top + 1))
		g.SetLimit(top)
	})
	every(func() {
		if s := g.State(); s.Used+s.Reserved > top || s.Used < 0 || s.Reserved < 0 || s.Peak > top {
			faults.add("got the gate %+v, want at most %d slots", s, top)
		}
		if s := imbalance(sup.Counters()); s != "" {
			faults.add("%s", s)
		}
	})
	every(func() {
		if all := list(sup); len(all) > 0 {
			kill(sup, all[rand.IntN(len(all))].ID)
		}
	})
	acceptorsCtx, endAcceptors := context.WithCancelCause(bg)
	var accepted atomic.Int64
	half := make(chan struct{})
	for range acceptors {
		wg.Go(func() {
			for accepted.Load() < total {
				ctx, cancel := context.WithCancelCause(acceptorsCtx)
				if rand.IntN(4) == 0 {
					go cancel(errGaveUp)
				}
				if g.Reserve(ctx) == nil {
					switch nc, t := newStub(), transports[rand.IntN(len(transports))]; {
					case rand.IntN(10) == 0:
						g.Cancel()
					case g.TryConfirm() || g.Confirm(ctx) == nil:
						sup.Start(bg, t, nc, p)
						if accepted.Add(1) == total/2 {
							close(half)
						}
					default:
						sup.Refuse(bg, conns.Refused, t, nc, p)
						if accepted.Add(1) == total/2 {
							close(half)
						}
					}
				}
				cancel(nil)
			}
		})
	}
	receive(t, half)
	for range 2 { // the second during the first, or after it
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(bg, 10*time.Second)
			defer cancel()
			if err := sup.Shutdown(ctx); err != nil {
				faults.add("Shutdown: got %v, want nil", err)
			}
			over.Store(true)
			if n := sup.Counters().Live; n != 0 {
				faults.add("after Shutdown: got %d live connections, want 0", n)
			}
		})
	}
	wg.Wait()
	endAcceptors(errGaveUp)
	close(stop)
	watchers.Wait()
	faults.report(t)
	s, c := g.State(), sup.Counters()
	if s.Used != 0 || s.Reserved != 0 || s.Waiting != 0 {
		t.Errorf("got the gate %+v at the end, want no slot in use and no waiter", s)
	}
	if bad := imbalance(c); bad != "" || c.Live != 0 {
		t.Errorf("got %d live connections at the end, want 0; %s", c.Live, bad)
	}
	type sums struct{ Accepted, Started, Served, Ended, Inside int64 }
	want := sums{accepted.Load(), int64(c.Accepted - c.Refused), int64(c.Served), int64(c.Accepted), 0}
	got := sums{int64(c.Accepted), began.Load(), served.Load(), ended.Load(), inside.Load()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sums (-want +got):\n%s", diff)
	}
	if c.Refused == 0 || c.Served == 0 || c.HandshakeFailed == 0 || c.Ended[conns.Killed] == 0 {
		t.Errorf("got %+v, want some of each end", c)
	}
}
