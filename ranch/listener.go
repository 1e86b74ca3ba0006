package ranch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Listener accepts connections on an address and has each served by its protocol.
//
// [StartListener] returns one that has a name in a [Server]; [NewListener] and [Listener.Run] make
// one that stands by itself. All methods may be called from any goroutine, except from the
// PostListen of the same listener.
type Listener struct {
	// Set once.
	ref       string
	gate      *conns.Gate
	sup       *conns.Supervisor
	log       *slog.Logger
	observers []Observer // the logger's first
	onStop    func()     // frees its name; nil: it has none in a server

	// Read by acceptors.
	target        atomic.Pointer[target]
	refuseAfter   atomic.Int64 // Options.RefuseAfter in force
	acceptLimited atomic.Bool  // there is an Options.AcceptRate
	acceptErrors  atomic.Uint64
	pending       atomic.Int64 // accepted connections without a slot

	// Lifetime.
	ctx        context.Context // ends when the listener stops
	cancel     context.CancelCauseFunc
	background sync.WaitGroup // goroutines other than acceptors and connections
	done       chan struct{}  // closed when stopped

	// Locks are taken in this order: optionsMu, lifecycleMu, mu.
	optionsMu   sync.Mutex // one change of options at a time; guards stopAlarms
	stopAlarms  func()     // nil: there are none
	lifecycleMu sync.Mutex // one of start, suspend, resume, stop at a time
	mu          sync.Mutex // guards the rest; held for a few instructions
	status      Status
	opts        Options
	transport   transport.Transport
	addr        net.Addr
	boundAs     string     // the Options.Addr that addr resulted from
	acceptors   *acceptors // nil unless running
}

// target is what connections are accepted for. It is replaced as a whole.
type target struct {
	base     context.Context // parent of the connections' contexts; never ends
	protocol protocol.Protocol
}

// NewListener returns a listener that is not listening yet and has no name in any server. The error
// joins every fault of the arguments; each is [ErrBadOption].
func NewListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	opts = opts.withDefaults()
	if err := check(ref, t, opts, p); err != nil {
		return nil, opErr("start", ref, err)
	}
	l := &Listener{
		ref: ref, gate: conns.NewGate(opts.MaxConnections), log: opts.Logger, observers: []Observer{LogObserver(opts.Logger)},
		done: make(chan struct{}), status: Starting, opts: opts, transport: t,
	}
	if opts.Observer != nil {
		l.observers = append(l.observers, opts.Observer)
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.target.Store(&target{context.Background(), p})
	l.refuseAfter.Store(int64(opts.RefuseAfter))
	l.acceptLimited.Store(opts.AcceptRate.PerSecond > 0)
	l.sup = conns.New(conns.Config{
		Gate: l.gate, Settings: opts.settings(), KeepClosed: opts.KeepClosed,
		Started: func(c *transport.Conn) { l.emit(Event{Kind: ConnStarted, Conn: c}) },
		Ended: func(e conns.ConnEnd) {
			l.emit(Event{Kind: ConnEnded, Conn: e.Conn, Reason: e.Reason, Err: e.Err, Served: e.Served, Duration: e.Duration})
		},
	})
	return l, nil
}

// Run listens and serves until ctx ends, then stops as [Listener.Stop] does. It returns nil after an
// orderly stop, also one that another call asked for, so that it can be used in an errgroup or a
// supervisor; the error of the start, which is [ErrStopped] for a listener that was stopped
// before; or the error of the stop.
func (l *Listener) Run(ctx context.Context) error {
	if err := l.start(ctx, func() {}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		if err := l.Stop(); !errors.Is(err, ErrStopped) { // another Stop came first
			return err
		}
		return nil
	case <-l.done:
		return nil
	}
}

// Ref returns the listener's name.
func (l *Listener) Ref() string { return l.ref }

// Addr returns the address to which the listener is bound, or was before it was suspended or
// stopped; nil before the start.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// SetMaxConnections changes the cap, effective at once. 0 admits no connection, and [Unlimited] any
// number. Lowering the cap ends no connection, unless Options.Evict says so, but none is admitted
// until their number is below n. A negative n is [ErrBadOption].
func (l *Listener) SetMaxConnections(n int) error {
	if n < 0 {
		return opErr("set", l.ref, fmt.Errorf("%w: option MaxConnections %d: allowed are 0, positive numbers and Unlimited", ErrBadOption, n))
	}
	over := l.gate.SetLimit(n)
	l.mu.Lock()
	policy := l.opts.Evict
	l.mu.Unlock()
	if over {
		l.interruptAccept(func() bool { return l.gate.State().Over }) // unless the cap was raised again
		l.sup.Evict(policy, func(candidates int) int { return candidates - n })
	}
	return nil
}

// MaxConnections returns the cap.
func (l *Listener) MaxConnections() int { return l.gate.State().Limit }

// SetProtocol changes the protocol of connections that are accepted from now on.
func (l *Listener) SetProtocol(p protocol.Protocol) error {
	if p == nil {
		return opErr("set", l.ref, fmt.Errorf("%w: protocol nil", ErrBadOption))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := *l.target.Load()
	t.protocol = p
	l.target.Store(&t)
	return nil
}

// Protocol returns the protocol of connections that are accepted now.
func (l *Listener) Protocol() protocol.Protocol { return l.target.Load().protocol }

// WaitForConnections returns when the number of active connections satisfies op and n, or with the
// cause of ctx when that ends first. It sees every change, so no number is missed, however short
// it lasts.
func (l *Listener) WaitForConnections(ctx context.Context, op Op, n int) error {
	ok, err := op.compare(n)
	if err != nil {
		return opErr("wait", l.ref, err)
	}
	return l.gate.Wait(ctx, ok)
}

// Connections returns the live connections, oldest first.
func (l *Listener) Connections() []conns.Info {
	all, _ := l.sup.Select(conns.Query{})
	return all
}

// Select returns the live connections that q selects, and how many match before its Offset and
// Limit.
func (l *Listener) Select(q conns.Query) (page []conns.Info, total int) { return l.sup.Select(q) }

// Connection returns the live connection with that id, and whether there is one.
func (l *Listener) Connection(id uint64) (conns.Info, bool) {
	if id == 0 {
		return conns.Info{}, false
	}
	found, _ := l.sup.Select(conns.Query{ID: id})
	if len(found) == 0 {
		return conns.Info{}, false
	}
	return found[0], true
}

// RecentlyClosed returns the connections that have ended last, the latest first: at most as many as
// Options.KeepClosed says.
func (l *Listener) RecentlyClosed() []conns.Info { return l.sup.RecentlyClosed() }

// Kill closes the connection with that id at once, and reports whether there was one.
func (l *Listener) Kill(id uint64) bool { return id != 0 && l.sup.Kill(conns.Query{ID: id}) > 0 }

// KillMatching closes the connections for which match returns true at once, and returns how many.
func (l *Listener) KillMatching(match func(*conns.Info) bool) int {
	return l.sup.Kill(conns.Query{Match: match})
}

// Evict asks n connections to stop, whatever the cap, and closes them after the ShutdownTimeout. It
// returns how many it has asked.
func (l *Listener) Evict(n int, policy conns.EvictionPolicy) int {
	return l.sup.Evict(policy, func(int) int { return n })
}

// Trace reports every read and write of the connections that t selects, live ones and those
// accepted later, until stop is called. See [LogTracer].
func (l *Listener) Trace(t conns.Trace) (stop func()) { return l.sup.Trace(t) }
