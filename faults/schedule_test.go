package faults_test

import (
	"fmt"
	"strings"
	"time"

	"goranch/conns"
	"goranch/faults"
	"goranch/ranch"
	"goranch/transport"
)

// schedule is what one seed does. All of it is decided before it runs.
type schedule struct {
	seed      uint64
	listeners []listenerPlan
	group     int // limit of all listeners together; 0: they share nothing
	rates     faults.Rates
	stream    faults.Stream
	steps     []step
}

// listenerPlan is how a listener is started.
type listenerPlan struct {
	transport faults.Options
	opts      ranch.Options
	protocols []string // that it may have; it starts with the first
	// turnsAway allows limits per address and the like. A connection that these refuse releases its
	// slot before its protocol sends a rejection message, which cannot be seen from outside. So it
	// excludes such a protocol.
	turnsAway bool
}

// step is a set of operations that run at once. If settle is set, all goroutines are then waited
// for and the contracts are checked. Afterwards the clock advances.
type step struct {
	ops    []op
	after  time.Duration
	settle bool
}

// op is an operation; what a, b and d mean depends on its kind.
type op struct {
	kind     string
	listener int
	a, b     int
	d        time.Duration
}

func (o op) String() string {
	return fmt.Sprintf("%s(listener %d, %d, %d, %v)", o.kind, o.listener, o.a, o.b, o.d)
}

// opKinds are the kinds of operations, as often as they are to occur.
var opKinds = strings.Fields(`connect connect connect connect connect connect connect connect burst burst
	cap cap cap cap suspend resume resume kill end end protocol options options rates remove trace observe info info wait
	sockets stop drain start start start group ban check`)

// maxSteps limits the length of a schedule.
const maxSteps = 30

// newSchedule returns the schedule of a seed.
func newSchedule(seed uint64) schedule {
	src := faults.NewSource(seed)
	s := schedule{seed: seed, rates: randomRates(src), stream: randomStream(src)}
	for i := range 1 + src.IntN(2) {
		s.listeners = append(s.listeners, newListenerPlan(src, i))
	}
	if len(s.listeners) > 1 && src.Chance(0.6) {
		s.group = 1 + src.IntN(6)
	}
	for range 5 + src.IntN(maxSteps-5) {
		var st step
		for range 1 + src.IntN(4) {
			st.ops = append(st.ops, newOp(src, len(s.listeners)))
		}
		if st.settle = src.Chance(0.4); !st.settle {
			st.after = src.Between(0, faults.Pick(src, 0, 0, time.Millisecond, 20*time.Millisecond, time.Second, 8*time.Second))
		}
		if src.Chance(0.005) { // the clock jumps
			st.after = src.Between(time.Minute, 10*time.Minute)
		}
		s.steps = append(s.steps, st)
		if src.Chance(0.1) {
			s.steps = append(s.steps, squeeze(src, len(s.listeners))...)
		}
	}
	return s
}

// squeeze returns steps in which clients connect after the cap was lowered, while acceptors may
// already wait in accept.
func squeeze(src *faults.Source, listeners int) []step {
	lower, connect := newOp(src, listeners), newOp(src, listeners)
	lower.kind, lower.a = "cap", src.IntN(3)
	connect.kind, connect.listener = "burst", lower.listener
	return []step{{ops: []op{lower}, settle: true}, {ops: []op{connect}, settle: true}}
}

func newOp(src *faults.Source, listeners int) op {
	return op{
		kind: faults.Pick(src, opKinds...), listener: src.IntN(listeners), a: src.IntN(1 << 16), b: src.IntN(1 << 16),
		d: src.Between(0, faults.Pick(src, time.Millisecond, time.Second, time.Minute)),
	}
}

func randomRates(src *faults.Source) faults.Rates {
	rate := func(max float64) float64 {
		if src.Chance(0.4) {
			return 0
		}
		return max * float64(src.IntN(100)) / 100
	}
	return faults.Rates{
		Accept: rate(0.5), Listen: rate(0.3), Handshake: rate(0.3), Read: rate(0.1), Write: rate(0.1), Partial: rate(0.5), Close: rate(0.2),
	}
}

func randomStream(src *faults.Source) faults.Stream {
	rate := func(max float64) float64 { return faults.Pick(src, 0, max/4, max) }
	return faults.Stream{
		Delay: rate(0.5), Stall: rate(0.1), Split: rate(0.5), Merge: rate(0.5),
		Truncate: rate(0.05), HalfClose: rate(0.05), Reset: rate(0.05),
	}
}

func newListenerPlan(src *faults.Source, n int) listenerPlan {
	p := listenerPlan{turnsAway: src.Chance(0.5), opts: ranch.Options{
		Addr: ":0", NumAcceptors: 1 + src.IntN(6), MaxConnections: 1 + src.IntN(6), DrainDelay: faults.Pick(src, 0, 0, 50*time.Millisecond),
		DrainSpread: faults.Pick(src, 0, 0, 200*time.Millisecond), KeepClosed: faults.Pick(src, 0, 2, -1),
	}}
	p.transport = faults.Options{Bare: src.Chance(0.4), NoDeadline: src.Chance(0.3)}
	p.turnsAway = p.turnsAway && !p.transport.Bare
	for range 3 {
		if name := faults.Pick(src, protocolNames...); name != "busy" || !p.turnsAway {
			p.protocols = append(p.protocols, name)
		}
	}
	p.protocols = append(p.protocols, "echo")
	randomOptions(src, &p.opts, p.turnsAway)
	if !p.transport.Bare && src.Chance(0.5) {
		p.transport.Sources = 1 + src.IntN(4)
	}
	if src.Chance(0.25) {
		p.opts.Addr = fmt.Sprint("shared-", n)
		p.opts.NumListenSockets = min(2+src.IntN(2), p.opts.NumAcceptors)
	}
	return p
}

// randomOptions sets the options that can be changed at any time.
func randomOptions(src *faults.Source, o *ranch.Options, turnsAway bool) {
	some := func(ds ...time.Duration) time.Duration {
		if src.Chance(0.6) {
			return transport.NoTimeout
		}
		return faults.Pick(src, ds...)
	}
	o.HandshakeTimeout = faults.Pick(src, 20*time.Millisecond, 5*time.Second)
	o.ShutdownTimeout = faults.Pick(src, ranch.BrutalKill, 30*time.Millisecond, 5*time.Second)
	o.RefuseAfter = faults.Pick(src, 0, 0, -1, 10*time.Millisecond, time.Second)
	o.Evict = conns.EvictionPolicy(faults.Pick(src, "none", "oldest", "most-idle", "random"))
	o.ParkAfter = some(20*time.Millisecond, time.Second)
	o.IdleTimeout, o.ReadTimeout, o.WriteTimeout = some(80*time.Millisecond, 5*time.Second), some(time.Second), some(2*time.Second)
	o.LoginTimeout, o.Lifetime, o.LifetimeJitter = some(3*time.Second), some(200*time.Millisecond, 10*time.Second), 0.5
	count := func(p float64, max int) int { // 0 is no limit
		if !src.Chance(p) {
			return 0
		}
		return 1 + src.IntN(max)
	}
	o.MaxHandshakes, o.MinReceiveRate, o.AcceptRate.PerSecond = count(0.2, 3), count(0.1, 1000), float64(count(0.1, 100))
	o.ReceiveRate, o.TotalSendRate = count(0.1, 100_000), count(0.1, 100_000)
	o.MaxUnestablished, o.PerAddress, o.AddressRate.PerSecond = 0, 0, 0
	if turnsAway {
		o.MaxUnestablished, o.PerAddress, o.AddressRate.PerSecond = count(0.2, 4), count(0.4, 3), float64(count(0.2, 10))
	}
}

// String prints the schedule, apart from the options.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, group %d\nrates %+v\nstreams %+v\n", s.seed, s.group, s.rates, s.stream)
	for i, l := range s.listeners {
		fmt.Fprintf(&b, "listener %d: %s, transport %+v, %+v\n", i, l.protocols, l.transport, l.opts)
	}
	for i, st := range s.steps {
		fmt.Fprintf(&b, "%d:", i)
		for _, o := range st.ops {
			fmt.Fprintf(&b, " %v", o)
		}
		fmt.Fprintf(&b, ", then %v", st.after)
		if st.settle {
			b.WriteString(" and a check")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
