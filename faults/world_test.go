package faults_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/faults"
	"goranch/ranch"
	"goranch/transport"
)

// world executes a schedule in memory, in a bubble of synctest.
type world struct {
	schedule
	src    *faults.Source
	mem    *transport.Mem
	faults faultList
	trace  io.Writer
	begin  time.Time
	ranch  ranch.Server
	shared *conns.Shared // nil: none
	cap    *ceiling      // of the group
	lnOf   []*listening

	ctx     context.Context // ends with the schedule
	cancel  context.CancelFunc
	wg      sync.WaitGroup // clients
	ops     sync.WaitGroup // operations in the background
	pairs   net.Listener   // connects clients and proxies
	groupMu lock
	pairing lock
	mu      sync.Mutex
	clients []*client
}

// lock is a mutex for holders that may sleep, as Close of a faulty connection does: who waits for
// it is durably blocked, so that the clock of the schedule goes on.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

// listening is a listener of a schedule: one after another of the same name.
type listening struct {
	w    *world
	n    int
	plan listenerPlan
	t    *faults.Transport
	nets *conns.Networks

	lifecycle lock // a start and the end of a stop
	capMu     lock // of changes of the cap
	mu        sync.Mutex
	l         *ranch.Listener // nil: it is stopped
	ledger    *ledger
	server    *server
	ledgers   []*ledger // all
	accepted  uint64    // by its transport before the start
}

// plain is a transport without a handshake.
type plain struct{ *faults.Transport }

func (plain) Adopted(string) (string, bool) { return "", false }
func (plain) Unwrap() transport.Transport   { return new(transport.Mem) }

func newWorld(s schedule, trace io.Writer) *world {
	w := &world{schedule: s, src: faults.NewSource(s.seed).Derive(1), mem: new(transport.Mem), trace: trace, begin: time.Now(),
		groupMu: newLock(), pairing: newLock()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.pairs, _ = w.mem.Listen(w.ctx, "pairs")
	if s.group > 0 {
		w.shared, _ = conns.NewShared(conns.SharedLimits{MaxConnections: s.group})
		w.cap = &ceiling{limit: s.group, most: s.group}
	}
	for i, p := range s.listeners {
		ln := &listening{w: w, n: i, plan: p, nets: new(conns.Networks), lifecycle: newLock(), capMu: newLock()}
		p.transport.Closed = func(nc net.Conn) { ln.current().closed(nc) }
		ln.t = faults.NewTransport(w.mem, w.src.Derive(uint64(100+i)), p.transport)
		w.lnOf = append(w.lnOf, ln)
	}
	w.setRates(s.rates)
	return w
}

func (w *world) setRates(r faults.Rates) {
	for _, ln := range w.lnOf {
		if ln.plan.transport.Bare {
			r.Handshake = 0 // a failure could not be seen before the slot is released
		}
		ln.t.Set(r)
	}
}

func (ln *listening) current() *ledger {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.ledger
}

func (ln *listening) get() (*ranch.Listener, *ledger, *server) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.l, ln.ledger, ln.server
}

var discard = slog.New(slog.DiscardHandler)

// start starts the listener, unless it runs.
func (ln *listening) start() error {
	ln.lifecycle.Lock()
	defer ln.lifecycle.Unlock()
	if l, _, _ := ln.get(); l != nil {
		return nil
	}
	w, opts := ln.w, ln.plan.opts
	name := fmt.Sprint("listener", ln.n)
	led := newLedger(name, ln.plan.transport.Bare, opts.MaxConnections, w.cap, &w.faults)
	srv := newServer(led, w.src.Derive(uint64(1000+ln.n)))
	opts.Logger, opts.Observer, opts.Shared, opts.Networks = discard, led.observe, w.shared, ln.nets
	var t transport.Transport = ln.t
	if ln.plan.transport.Bare {
		t = plain{ln.t}
	}
	ln.mu.Lock()
	ln.ledger, ln.server, ln.accepted = led, srv, ln.t.Accepted()
	ln.ledgers = append(ln.ledgers, led)
	ln.mu.Unlock()
	l, err := w.ranch.StartListener(name, t, opts, srv.protocol(ln.plan.protocols[0]))
	if err != nil {
		return err
	}
	ln.mu.Lock()
	ln.l = l
	ln.mu.Unlock()
	return nil
}

// stopped checks the listener after a stop, and allows another start.
func (ln *listening) stopped(l *ranch.Listener, err error) {
	ln.lifecycle.Lock()
	defer ln.lifecycle.Unlock()
	current, led, _ := ln.get()
	if current != l || l.Status() != ranch.Stopped {
		return
	}
	if err != nil && !strings.Contains(err.Error(), ranch.ErrStopped.Error()) {
		led.wrong("stop: got %v, want nil", err)
	}
	led.checkStopped(l.Info(), ln.t.Accepted()-ln.accepted)
	ln.mu.Lock()
	ln.l = nil
	ln.mu.Unlock()
}

// check compares everything when all goroutines are blocked.
func (w *world) check() {
	synctest.Wait()
	if w.cap != nil {
		w.cap.settle()
	}
	for _, ln := range w.lnOf {
		l, led, _ := ln.get()
		if l == nil {
			continue
		}
		if st := l.Status(); st == ranch.Starting {
			continue
		}
		led.checkSettled(l.Info(), ln.t.Accepted()-ln.accepted, led.cap.limit)
	}
	if w.shared != nil {
		sum := 0
		for _, ln := range w.lnOf {
			if l, _, _ := ln.get(); l != nil {
				sum += l.Info().ActiveConnections
			}
		}
		if st := w.shared.State(); st.Used != sum {
			w.faults.add("group: got %d slots used, want %d", st.Used, sum)
		}
	}
}

func (w *world) logf(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%12v "+format+"\n", append([]any{time.Since(w.begin)}, args...)...)
	}
}

// run executes the schedule and returns what is wrong.
func (w *world) run() []string {
	defer w.pairs.Close()
	for _, ln := range w.lnOf {
		w.try(op{kind: "start", listener: ln.n}, func() error { return ln.start() })
	}
	for _, st := range w.steps {
		var wg sync.WaitGroup
		for _, o := range st.ops {
			wg.Go(func() { w.do(o) })
		}
		wg.Wait()
		if st.settle {
			w.check()
			w.logf("checked")
		}
		if st.after > 0 {
			time.Sleep(st.after)
		}
	}
	w.check()
	w.finish()
	return w.faults.all
}

// finish ends all faults, limits and clients. Each listener must then serve exactly as many clients
// as its cap allows, and stop.
func (w *world) finish() {
	w.setRates(faults.Rates{})
	w.cancel()
	w.wg.Wait()
	w.ops.Wait()
	for _, c := range w.clients { // a stalled stream would keep its connection open
		if c.link != nil {
			c.lossy = c.link.Lossy()
			c.link.Reset()
		}
	}
	time.Sleep(8 * time.Second) // handshakes, back-offs and episodes of accept errors are over
	w.check()
	for _, ln := range w.lnOf {
		if err := ln.start(); err != nil {
			w.faults.add("listener %d: start: got %v, want nil", ln.n, err)
			continue
		}
		ln.probe()
	}
	for _, ln := range w.lnOf {
		l, led, _ := ln.get()
		if l == nil {
			continue
		}
		begin := time.Now()
		err := l.Stop()
		if took := time.Since(begin); took > 10*time.Second {
			led.wrong("the stop: got %v, want at most 10s", took)
		}
		ln.stopped(l, err)
	}
	if w.shared != nil {
		if st := w.shared.State(); st.Used != 0 || st.Reserved != 0 || st.Waiting != 0 || st.Gates != 0 {
			w.faults.add("group: after all stops: got %+v, want nothing used, reserved or waiting", st)
		}
	}
	for _, c := range w.clients {
		if c.link != nil {
			c.link.Wait()
		}
		for _, led := range c.to.ledgers {
			led.checkClient(c)
		}
	}
}

// probeLimit is the cap of listeners, and the limit of a group, at the end of a schedule.
const probeLimit = 3

// relax removes the limits and makes the listener accept. It reports whether that worked.
func (ln *listening) relax(l *ranch.Listener, led *ledger, srv *server) bool {
	w := ln.w
	led.cap.change(probeLimit, func() { l.SetMaxConnections(probeLimit) })
	if w.shared != nil {
		w.cap.change(probeLimit, func() { w.shared.Set(conns.SharedLimits{MaxConnections: probeLimit}) })
	}
	ln.nets.Set(nil)
	l.ChangeOptions(func(o *ranch.Options) {
		o.RefuseAfter, o.Limits, o.HandshakeTimeout = 0, conns.Limits{}, 5*time.Second
	})
	l.SetProtocol(srv.protocol("echo"))
	if err := l.Resume(); err != nil {
		led.wrong("resume: got %v, want nil", err)
		return false
	}
	time.Sleep(3 * time.Second) // what is in the queue is served, and sockets are open
	w.check()
	return true
}

// probe checks that all slots are free: as many clients as the cap allows are served at once, and
// one more when one of them has left.
func (ln *listening) probe() {
	w := ln.w
	l, led, srv := ln.get()
	if !ln.relax(l, led, srv) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var all []*client
	served := func() (n int) {
		synctest.Wait()
		for _, c := range all {
			select {
			case <-c.served:
				n++
			default:
			}
		}
		return n
	}
	for i := range probeLimit + 1 {
		c := w.newClient("silent", 0, uint64(1<<40+i))
		all = append(all, c)
		wg.Go(func() { c.run(ctx, func(ctx context.Context, c *client) error { return w.direct(ctx, c, ln, l) }) })
	}
	time.Sleep(time.Second)
	if n := served(); n != probeLimit {
		for _, c := range all {
			w.logf("probe client %s: got %d, to the end %v", c.addr, c.got, c.readToEnd)
		}
		led.wrong("probe: got %d clients served, want %d; %+v; group %+v", n, probeLimit, l.Info(), w.shared)
	}
	for _, c := range all {
		select {
		case <-c.served:
			c.nc.Close()
		default:
			continue
		}
		break
	}
	time.Sleep(time.Second)
	if n := served(); n != probeLimit+1 {
		led.wrong("probe: after one has left: got %d clients served, want %d; %+v", n, probeLimit+1, l.Info())
	}
	w.check()
	cancel()
	wg.Wait()
	time.Sleep(2 * time.Second)
	w.check()
	if i := l.Info(); i.ActiveConnections != 0 || i.AllConnections != 0 {
		led.wrong("without clients: got %d active connections of %d, want none: %s", i.ActiveConnections, i.AllConnections, led.alive())
	}
}
