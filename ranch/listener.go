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

// Listener accepts connections on an address and calls its protocol for each. [StartListener]
// starts one that has a name in a [Server]; [NewListener] and [Listener.Run] are for one without a
// server. Its methods may be called from any goroutine, except from its PostListen.
type Listener struct {
	// Set once.
	ref      string
	gate     *conns.Gate
	sup      *conns.Supervisor
	shared   *conns.Shared // Options.Shared; nil: none
	log      *slog.Logger
	observer func(Event) // of Options; nil: none
	onStop   func()      // frees its name; nil: it has none in a server
	server   *Server     // nil: none
	attached observers   // see Observe

	// Used by acceptors and pending connections.
	target        atomic.Pointer[target]
	acceptErrors  atomic.Uint64
	acceptLimited atomic.Bool  // there is an Options.AcceptRate
	refuseAfter   atomic.Int64 // Options.RefuseAfter in force
	reservations  reservations
	pending       atomic.Int64 // number of pending connections
	pendingWait   slotWait

	// Lifetime.
	ctx        context.Context // ends when the listener stops
	cancel     context.CancelCauseFunc
	background sync.WaitGroup  // goroutines other than acceptors and connections
	stopped    context.Context // ends when the listener has stopped; its cause says how
	setStopped context.CancelCauseFunc

	// Stop and drain.
	expedited   context.Context // ends when a drain has to omit its delay and spread
	expedite    context.CancelFunc
	aborted     context.Context // ends when a stop has to close the remaining connections
	abort       context.CancelFunc
	monitored   context.Context // ends when the connections have ended
	stopMonitor context.CancelFunc
	monitor     sync.WaitGroup
	asked       atomic.Int64 // connections that a drain has asked to stop

	// Locks are taken in this order: lifecycleMu, optionsMu, mu.
	lifecycleMu waitLock   // one of start, suspend, resume, stop at a time
	optionsMu   sync.Mutex // one change of options at a time; guards stopAlarms
	stopAlarms  func()     // nil: there are none
	mu          sync.Mutex // guards the rest; held for a few instructions
	status      Status
	opts        Options
	transport   transport.Transport
	addr        net.Addr
	boundAs     string     // the Options.Addr that addr resulted from
	acceptors   *acceptors // nil unless running
	drain       *DrainInfo // nil: no drain has begun
}

// target is what acceptors pass to connections besides the transport. It is replaced as a whole.
type target struct {
	base     context.Context // parent of the connections' contexts; never ends
	protocol protocol.Protocol
}

// NewListener returns a listener that is not listening yet and has no name in a [Server]. The error
// joins all faults of the arguments; each is [ErrBadOption].
func NewListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	opts = opts.withDefaults()
	if err := check(ref, t, opts, p); err != nil {
		return nil, opErr("start", ref, err)
	}
	newGate := conns.NewGate
	if opts.Shared != nil {
		newGate = opts.Shared.NewGate
	}
	l := &Listener{
		ref: ref, gate: newGate(opts.MaxConnections), log: opts.Logger, observer: opts.Observer,
		status: Starting, opts: opts, transport: t,
	}
	l.lifecycleMu = make(waitLock, 1)
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.stopped, l.setStopped = context.WithCancelCause(context.Background())
	l.expedited, l.expedite = context.WithCancel(context.Background())
	l.aborted, l.abort = context.WithCancel(context.Background())
	l.monitored, l.stopMonitor = context.WithCancel(context.Background())
	l.target.Store(&target{context.Background(), p})
	l.refuseAfter.Store(int64(opts.RefuseAfter))
	l.acceptLimited.Store(opts.AcceptRate.PerSecond > 0)
	l.shared = opts.Shared
	l.pendingWait.renew(l.ctx)
	l.sup = conns.New(conns.Config{
		Gate: l.gate, Settings: opts.settings(), KeepClosed: opts.KeepClosed,
		Started: l.connStarted(), Ended: l.connEnded(),
	})
	return l, nil
}

// Run listens and serves until ctx ends, and then stops the listener; see [Listener.Stop]. It
// returns nil when all connections have ended and the listener has stopped, also by another call;
// otherwise the error of the start, such as [ErrAlreadyStarted] or [ErrStopped], or that of the
// stop. After a failed start it can be called again.
func (l *Listener) Run(ctx context.Context) error {
	if err := l.start(ctx, func() {}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		if err := l.Stop(); !errors.Is(err, ErrStopped) { // another stop was first
			return err
		}
		return nil
	case <-l.stopped.Done():
		return nil
	}
}

// Ref returns the listener's name.
func (l *Listener) Ref() string { return l.ref }

// Addr returns the address to which the listener is bound, or was bound last; nil before the start.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// SetMaxConnections changes the cap at once. 0 admits no connection, [Unlimited] any number; a
// negative n is [ErrBadOption]. When the cap is lowered, no connection is admitted until their
// number is below n; Options.Evict may end some.
func (l *Listener) SetMaxConnections(n int) error {
	if n < 0 {
		return opErr("set", l.ref,
			fmt.Errorf("%w: option MaxConnections %d: allowed are 0, positive numbers and Unlimited", ErrBadOption, n))
	}
	over := l.gate.SetLimit(n)
	l.mu.Lock()
	policy := l.opts.Evict
	l.mu.Unlock()
	if over {
		l.interruptAccept()
		l.sup.Evict(policy, func(candidates int) int { return candidates - n })
	}
	return nil
}

// SetProtocol changes the protocol of connections that are accepted from now on. nil is
// [ErrBadOption].
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

// WaitForConnections waits until "active connections op n" holds. It misses no change, however
// short. If ctx ends first, it returns the cause of ctx, and if the listener stops first, an error
// that is [ErrStopped] and says how it was stopped; an unknown op is [ErrBadOption].
func (l *Listener) WaitForConnections(ctx context.Context, op Op, n int) error {
	ok, err := op.compare(n)
	if err != nil {
		return opErr("wait", l.ref, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.stopped, func() { cancel(context.Cause(l.stopped)) })()
	if err = l.gate.Wait(ctx, ok); errors.Is(err, ErrStopped) {
		if ok(l.gate.State().Used) { // the last connection has ended meanwhile
			return nil
		}
		return opErr("wait", l.ref, err)
	}
	return err
}

// Connections returns the live connections, oldest first.
func (l *Listener) Connections() []conns.Info {
	all, _ := l.sup.Select(conns.Query{})
	return all
}

// Select returns the live connections that q selects, and how many it matches without its Offset
// and Limit.
func (l *Listener) Select(q conns.Query) (page []conns.Info, total int) { return l.sup.Select(q) }

// RecentlyClosed returns the most recently closed connections, at most Options.KeepClosed, the
// latest first.
func (l *Listener) RecentlyClosed() []conns.Info { return l.sup.RecentlyClosed() }

// Kill closes the live connections that q selects at once, and returns their number.
func (l *Listener) Kill(q conns.Query) int { return l.sup.Kill(q) }

// CloseBanned closes the live connections whose address a rule of Options.Networks denies, and
// returns their number. Rules themselves apply to connections that are accepted after they were
// added.
func (l *Listener) CloseBanned() int { return l.sup.CloseBanned() }

// End asks the live connections that q selects to stop, and returns how many were asked; those that
// were asked before are not counted. Their contexts are cancelled with [conns.EndRequested] as the
// cause, and their reads fail, while writes still work. Connections that remain after the
// ShutdownTimeout are closed.
func (l *Listener) End(q conns.Query) int { return l.sup.End(q) }

// Trace reports every read and write of the live and later connections that t selects, until stop
// is called. It may be called several times; see [LogTracer].
func (l *Listener) Trace(t conns.Trace) (stop func()) { return l.sup.Trace(t) }
