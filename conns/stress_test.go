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

// stress runs a supervisor with the real scheduler.
type stress struct {
	gate   *conns.Gate
	sup    *conns.Supervisor
	faults faultLog
	total  int64 // how many connections are accepted

	inside, accepted, started, served, ended atomic.Int64
	stopped                                  atomic.Bool   // Drain has returned
	half                                     chan struct{} // closed when half of the connections were accepted

	mu   sync.Mutex
	ends map[*transport.Conn]bool
}

// stressLimit is the highest limit of the gate.
const stressLimit = 8

func newStress(total int64) *stress {
	s := &stress{
		gate: conns.NewGate(stressLimit), total: total,
		half: make(chan struct{}), ends: make(map[*transport.Conn]bool),
	}
	used := 0
	s.gate.Observe(func(g conns.GateState) {
		if g.Used > used && g.Used > g.Limit {
			s.faults.add("got %d used slots as one was added, want at most %d", g.Used, g.Limit)
		}
		used = g.Used
	})
	s.sup = conns.New(conns.Config{
		Gate: s.gate, Settings: conns.Settings{HandshakeTimeout: time.Second},
		Started: func(*transport.Conn) {
			s.started.Add(1)
			if s.stopped.Load() {
				s.faults.add("got Started after Drain has returned, want Refused")
			}
		},
		Ended: func(e conns.ConnEnd) {
			s.ended.Add(1)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.ends[e.Conn] {
				s.faults.add("connection %d: got Ended twice, want once", e.Conn.ID())
			}
			s.ends[e.Conn] = true
		},
	})
	return s
}

// serve is the protocol. It ends in every way.
func (s *stress) serve(_ context.Context, c *transport.Conn) error {
	s.served.Add(1)
	var once sync.Once
	leave := func() { once.Do(func() { s.inside.Add(-1) }) }
	defer leave()
	if n := s.inside.Add(1); n > stressLimit {
		s.faults.add("got %d counted connections, want at most %d", n, stressLimit)
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
}

var stressTransports = []fake{
	{plain: true},
	{},
	{shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom }},
	{shake: func(context.Context, net.Conn) (net.Conn, error) { panic("a test") }},
}

// accept is an acceptor.
func (s *stress) accept(base context.Context) {
	for s.accepted.Load() < s.total {
		ctx, cancel := context.WithCancelCause(base)
		if rand.IntN(4) == 0 {
			go cancel(errGaveUp)
		}
		if s.gate.Reserve(ctx) == nil {
			s.acceptReserved(ctx)
		}
		cancel(nil)
	}
}

func (s *stress) acceptReserved(ctx context.Context) {
	nc, t, p := newStub(), stressTransports[rand.IntN(len(stressTransports))], protocol.Func(s.serve)
	switch {
	case rand.IntN(10) == 0:
		s.gate.Cancel()
		return
	case s.gate.TryConfirm() || s.gate.Confirm(ctx) == nil:
		s.sup.Start(bg, t, nc, p)
	default:
		s.sup.Refuse(bg, conns.Refused, t, nc, p)
	}
	if s.accepted.Add(1) == s.total/2 {
		close(s.half)
	}
}

// disturb changes the limit, checks the gate and the counters, and kills connections.
func (s *stress) disturb(stop <-chan struct{}, wg *sync.WaitGroup) {
	for _, f := range []func(){
		func() { // 0 sometimes, but not last: acceptors would wait for ever
			s.gate.SetLimit(rand.IntN(stressLimit + 1))
			s.gate.SetLimit(stressLimit)
		},
		func() {
			if g := s.gate.State(); g.Used+g.Reserved > stressLimit || g.Used < 0 || g.Reserved < 0 || g.Peak > stressLimit {
				s.faults.add("got the gate %+v, want at most %d slots", g, stressLimit)
			}
			if text := imbalance(s.sup.Counters()); text != "" {
				s.faults.add("%s", text)
			}
		},
		func() {
			if all := list(s.sup); len(all) > 0 {
				kill(s.sup, all[rand.IntN(len(all))].ID)
			}
		},
	} {
		wg.Go(func() {
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
}

func (s *stress) shutdown() {
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	if err := s.sup.Drain(ctx, conns.DrainOptions{}); err != nil {
		s.faults.add("Drain: got %v, want nil", err)
	}
	s.stopped.Store(true)
	if n := s.sup.Counters().Live; n != 0 {
		s.faults.add("after Drain: got %d live connections, want 0", n)
	}
}

// check checks that no slot was lost and that the counters agree with those of the test.
func (s *stress) check(t *testing.T) {
	s.faults.report(t)
	g, c := s.gate.State(), s.sup.Counters()
	if g.Used != 0 || g.Reserved != 0 || g.Waiting != 0 {
		t.Errorf("got the gate %+v at the end, want no slot in use and no waiter", g)
	}
	if bad := imbalance(c); bad != "" || c.Live != 0 {
		t.Errorf("got %d live connections at the end, want 0; %s", c.Live, bad)
	}
	type sums struct{ Accepted, Started, Served, Ended, Inside int64 }
	want := sums{s.accepted.Load(), int64(c.Accepted - c.Refused), int64(c.Served), int64(c.Accepted), 0}
	got := sums{int64(c.Accepted), s.started.Load(), s.served.Load(), s.ended.Load(), s.inside.Load()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sums (-want +got):\n%s", diff)
	}
	if c.Refused == 0 || c.Served == 0 || c.HandshakeFailed == 0 || c.Ended[conns.Killed] == 0 {
		t.Errorf("got %+v, want some of each end", c)
	}
}

// The contracts of the model with the real scheduler: acceptors, a limit that changes, connections
// that end in every way, are killed and removed, and two shutdowns in the middle.
func TestStress(t *testing.T) {
	s := newStress(3000)
	if testing.Short() {
		s.total = 500
	}
	var wg, watchers sync.WaitGroup
	stop := make(chan struct{})
	s.disturb(stop, &watchers)
	base, endAcceptors := context.WithCancelCause(bg)
	for range 6 {
		wg.Go(func() { s.accept(base) })
	}
	receive(t, s.half)
	for range 2 { // the second during the first, or after it
		wg.Go(s.shutdown)
	}
	wg.Wait()
	endAcceptors(errGaveUp)
	close(stop)
	watchers.Wait()
	s.check(t)
}
