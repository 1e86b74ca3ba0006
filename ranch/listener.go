package ranch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Listener accepts connections on an address and has each served by its protocol.
//
// [StartListener] makes one that has a name in a [Server]; [NewListener] and
// [Listener.Run] make one that stands by itself. All methods may be called from any
// goroutine, except from its own PostListen.
type Listener struct {
	ref       string
	gate      *conns.Gate
	sup       *conns.Supervisor
	log       *slog.Logger
	logEvents Observer
	observer  Observer // nil: nobody besides
	serving   atomic.Pointer[serving]

	acceptErrors atomic.Uint64
	refuseAfter  atomic.Int64 // Options.RefuseAfter in force
	pace         conns.Pace   // Options.AcceptRate in force
	holding      atomic.Int64 // connections in hand that have no slot
	calling      atomic.Bool  // acceptors are being called back for those

	life context.Context // ends when the listener stops
	kill context.CancelCauseFunc
	held sync.WaitGroup // goroutines besides acceptors and connections: those in hand, alarms, the watch
	done chan struct{}  // closed when stopped

	setting sync.Mutex // one change of options at a time; guards calm; before state
	calm    func()     // ends the alarms; nil: there are none

	op sync.Mutex // one of start, suspend, resume, stop at a time; before state

	state     sync.Mutex // guards the rest; held for a few instructions
	status    Status
	opts      Options
	transport transport.Transport
	addr      net.Addr
	boundAs   string     // the Options.Addr that addr came from
	acceptors *acceptors // nil unless running
}

// serving is what connections are accepted for, changed as a whole.
type serving struct {
	base context.Context // parent of the connections' contexts; never ends
	t    transport.Transport
	p    protocol.Protocol
}

// NewListener returns a listener that is not listening yet, with no name in any server.
// The error joins every fault of the arguments; each is [ErrBadOption].
func NewListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	opts = opts.withDefaults()
	if err := check(ref, t, opts, p); err != nil {
		return nil, opErr("start", ref, err)
	}
	return newListener(ref, t, opts, p), nil
}

func newListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) *Listener {
	l := &Listener{
		ref: ref, gate: conns.NewGate(opts.MaxConnections), log: opts.Logger, logEvents: LogObserver(opts.Logger), observer: opts.Observer,
		done: make(chan struct{}), status: Starting, opts: opts, transport: t,
	}
	l.life, l.kill = context.WithCancelCause(context.Background())
	l.serving.Store(&serving{context.Background(), t, p})
	l.refuseAfter.Store(int64(opts.RefuseAfter))
	l.pace.SetRate(opts.AcceptRate)
	l.sup = conns.New(conns.Config{
		Gate: l.gate, Limits: opts.limits(), KeepEnded: opts.KeepEnded,
		Started: func(c *transport.Conn) { l.emit(Event{Kind: ConnStarted, Conn: c}) },
		Ended: func(e conns.End) {
			l.emit(Event{Kind: ConnEnded, Conn: e.Conn, Reason: e.Reason, Err: e.Err, Served: e.Served, Duration: e.Duration})
		},
	})
	return l
}

// Run listens and serves until ctx ends, then stops as [Listener.Stop] does. It returns
// nil after a stop in order, whoever asked for it, so that it can stand in an errgroup
// or a supervisor; the error of the start, which is [ErrStopped] for a listener that is
// stopped already; or that of the stop.
func (l *Listener) Run(ctx context.Context) error {
	if err := l.start(ctx, func() {}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		if err := l.Stop(); !errors.Is(err, ErrStopped) { // somebody else's was first
			return err
		}
		return nil
	case <-l.done:
		return nil
	}
}

// Ref returns the listener's name.
func (l *Listener) Ref() string { return l.ref }

// Addr returns where the listener is bound, or was before it was suspended or stopped;
// nil before the start.
func (l *Listener) Addr() net.Addr {
	l.state.Lock()
	defer l.state.Unlock()
	return l.addr
}

// start opens the sockets, and calls bound before anybody is accepted on them. Nothing
// stays behind if that fails.
func (l *Listener) start(ctx context.Context, bound func()) error {
	l.op.Lock()
	defer l.op.Unlock()
	switch s := l.getStatus(); s {
	case Starting:
	case Stopped:
		return opErr("start", l.ref, ErrStopped)
	default:
		return opErr("start", l.ref, fmt.Errorf("%w: it is %s", ErrAlreadyStarted, s))
	}
	if err := l.listen(ctx, ListenerStarted, bound); err != nil {
		return opErr("start", l.ref, err)
	}
	l.held.Go(func() { l.sup.Watch(l.life) })
	l.setting.Lock()
	defer l.setting.Unlock()
	l.setAlarms(l.Options().Alarms)
	return nil
}

// Suspend closes the listening sockets: nobody is accepted, connections live on. A
// listener that is suspended already stays so. An inherited socket ("fd:N",
// "systemd:NAME") stays open in the process: the kernel goes on queueing clients, and
// they are served after Resume.
func (l *Listener) Suspend() error {
	l.op.Lock()
	defer l.op.Unlock()
	switch s := l.getStatus(); s {
	case Suspended:
		return nil
	case Running:
		l.unlisten(Suspended, errSuspended)
		l.emit(Event{Kind: ListenerSuspended, Addr: l.Addr()})
		return nil
	default:
		return opErr("suspend", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
}

// Resume listens again, on the same port, also if it was chosen by the system. A
// listener that is running already goes on.
func (l *Listener) Resume() error {
	l.op.Lock()
	defer l.op.Unlock()
	switch s := l.getStatus(); s {
	case Running:
		return nil
	case Suspended:
		return opErr("resume", l.ref, l.listen(context.Background(), ListenerResumed, func() {}))
	default:
		return opErr("resume", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
}

// Stop stops accepting, tells the connections to end, closes those that are left after
// the ShutdownTimeout, and returns when all their goroutines are gone. The error is
// [ErrStopped] if somebody else did that before, or a [*conns.StuckError] that names
// protocols which ignore that their connection is closed, or tells of a Refuse that does.
func (l *Listener) Stop() error { return l.stop(context.Background(), 0) }

// Drain is Stop with the end of ctx as the limit for connections, in place of the
// ShutdownTimeout. Before connections are told to end, those are served who have connected
// but were not accepted yet, for up to 5 s or the ShutdownTimeout, where the system can tell
// (Unix) and the sockets are not inherited. With a ctx that has ended they are not.
func (l *Listener) Drain(ctx context.Context) error { return l.stop(ctx, Infinity) }

// stop ends connections within ctx and timeout; 0 is the ShutdownTimeout.
func (l *Listener) stop(ctx context.Context, timeout time.Duration) error {
	l.op.Lock()
	defer l.op.Unlock()
	if l.getStatus() == Stopped {
		return opErr("stop", l.ref, ErrStopped)
	}
	if timeout == Infinity && ctx.Err() == nil { // a drain
		l.serveBacklog(ctx)
	}
	l.unlisten(Stopping, ErrShutdown)
	l.setting.Lock() // no alarm begins after this
	l.kill(ErrShutdown)
	l.setting.Unlock()
	stuck := l.awaitHeld()
	def(&timeout, l.Options().ShutdownTimeout)
	ctx, cancel := limit(ctx, timeout)
	defer cancel()
	err := errors.Join(stuck, l.sup.Shutdown(ctx))
	l.setStatus(Stopped)
	close(l.done)
	l.emit(Event{Kind: ListenerStopped, Addr: l.Addr(), Err: err})
	return opErr("stop", l.ref, err)
}

func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == Infinity {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d) // BrutalKill is negative: over at once
}

// listen opens the sockets and starts the acceptors. l.op is held.
func (l *Listener) listen(ctx context.Context, kind EventKind, bound func()) error {
	l.state.Lock()
	t, opts, addr := l.transport, l.opts, l.opts.Addr
	if l.addr != nil && l.boundAs == addr { // keep the port
		addr = transport.AddrAgain(addr, l.addr)
	}
	l.state.Unlock()
	sockets, err := openSockets(ctx, t, opts, addr)
	if err != nil {
		return err
	}
	a := newAcceptors(l, t, opts, sockets)
	l.state.Lock()
	l.acceptors, l.addr, l.boundAs, l.status = a, sockets[0].addr, opts.Addr, Running
	l.serving.Store(&serving{l.baseContext(ctx, t), t, l.serving.Load().p})
	l.state.Unlock()
	bound()
	l.emit(Event{Kind: kind, Addr: sockets[0].addr})
	a.start()
	return nil
}

// unlisten closes the sockets and waits for the acceptors. l.op is held.
func (l *Listener) unlisten(next Status, cause error) {
	l.state.Lock()
	a := l.acceptors
	l.acceptors, l.status = nil, next
	l.state.Unlock()
	if a != nil {
		a.stop(cause)
	}
}

// baseContext gives connections the values of ctx, and their goroutines the labels by
// which a profile tells listeners apart.
func (l *Listener) baseContext(ctx context.Context, t transport.Transport) context.Context {
	return pprof.WithLabels(context.WithoutCancel(ctx), pprof.Labels("listener", l.ref, "transport", t.Name()))
}

// SetMaxConnections changes the cap, effective at once. 0 admits nobody, [Unlimited]
// everybody; lowering it ends no connection, but nobody is admitted until fewer are
// live than n. A negative n is [ErrBadOption].
func (l *Listener) SetMaxConnections(n int) error {
	if n < 0 {
		return opErr("set", l.ref, &OptionError{"MaxConnections", n, "are 0, positive numbers and Unlimited"})
	}
	over := l.gate.SetLimit(n)
	l.state.Lock()
	a, victims := l.acceptors, l.opts.Evict
	l.state.Unlock()
	if over && a != nil {
		a.recall()
	}
	if over {
		l.sup.Shrink(n, victims)
	}
	return nil
}

// MaxConnections returns the cap.
func (l *Listener) MaxConnections() int { return l.gate.State().Limit }

// SetProtocol changes the protocol of connections accepted from now on.
func (l *Listener) SetProtocol(p protocol.Protocol) error {
	if p == nil {
		return opErr("set", l.ref, fmt.Errorf("%w: protocol nil", ErrBadOption))
	}
	l.state.Lock()
	defer l.state.Unlock()
	sv := *l.serving.Load()
	sv.p = p
	l.serving.Store(&sv)
	return nil
}

// Protocol returns the protocol of connections accepted now.
func (l *Listener) Protocol() protocol.Protocol { return l.serving.Load().p }

// Options returns the options in force, or waiting for a resume, with their defaults.
// Its MaxConnections is the cap of the start; MaxConnections returns that of now.
func (l *Listener) Options() Options {
	l.state.Lock()
	defer l.state.Unlock()
	opts := l.opts
	opts.Alarms = maps.Clone(opts.Alarms)
	return opts
}

// SetOptions changes the transport and the options of a listener. The limits apply at
// once; t (nil leaves it), Addr, NumAcceptors, NumListenSockets and PostListen when it
// is resumed the next time, and waiting names those that differ. Logger, Observer and
// KeepEnded stay as they are. Nothing is changed if anything is wrong.
func (l *Listener) SetOptions(t transport.Transport, opts Options) (waiting []string, err error) {
	opts = opts.withDefaults()
	l.setting.Lock()
	defer l.setting.Unlock()
	if waiting, err = l.setOptions(t, opts); err != nil {
		return nil, err
	}
	return waiting, l.SetMaxConnections(opts.MaxConnections)
}

// ChangeOptions has change alter the options, as [Listener.Options] returns them, and sets them as
// SetOptions does, with nobody else's change in between. MaxConnections stays as it is: that of the start, and
// the cap of now. change must not change the options in another way.
func (l *Listener) ChangeOptions(change func(*Options)) (waiting []string, err error) {
	l.setting.Lock()
	defer l.setting.Unlock()
	opts := l.Options()
	limit := opts.MaxConnections
	change(&opts)
	opts.MaxConnections = limit
	return l.setOptions(nil, opts.withDefaults())
}

// setOptions sets all but the cap. l.setting is held.
func (l *Listener) setOptions(t transport.Transport, opts Options) (waiting []string, err error) {
	l.state.Lock()
	old, oldT := l.opts, l.transport
	l.state.Unlock()
	if t == nil {
		t = oldT
	} else {
		waiting = append(waiting, "transport")
	}
	if err := errors.Join(opts.validate(), checkTransport(t, opts.Addr)); err != nil {
		return nil, opErr("set", l.ref, err)
	}
	waiting = append(waiting, old.waiting(opts)...)
	opts.Logger, opts.Observer, opts.KeepEnded = old.Logger, old.Observer, old.KeepEnded
	l.state.Lock()
	l.opts, l.transport = opts, t
	l.state.Unlock()
	l.sup.SetLimits(opts.limits())
	l.setRefusing(opts.RefuseAfter)
	l.pace.SetRate(opts.AcceptRate)
	if l.getStatus() != Starting { // else the start sets them
		l.setAlarms(opts.Alarms)
	}
	return waiting, nil
}

// WaitForConnections returns when the number of active connections is as op and n say,
// or the cause of ctx when that ends first. It is woken by each change, so that no
// number, however short it lasted, is missed.
func (l *Listener) WaitForConnections(ctx context.Context, op Op, n int) error {
	ok, err := op.compare(n)
	if err != nil {
		return opErr("wait", l.ref, err)
	}
	return l.gate.Wait(ctx, ok)
}

func (l *Listener) getStatus() Status {
	l.state.Lock()
	defer l.state.Unlock()
	return l.status
}

func (l *Listener) setStatus(s Status) {
	l.state.Lock()
	l.status = s
	l.state.Unlock()
}

// emit tells the log and the observer. A panic of theirs is not the connection's fault.
func (l *Listener) emit(e Event) {
	e.Ref = l.ref
	l.tell(l.logEvents, e)
	if l.observer != nil {
		l.tell(l.observer, e)
	}
}

func (l *Listener) tell(o Observer, e Event) {
	defer func() {
		if v := recover(); v != nil {
			l.complain(e, v, debug.Stack())
		}
	}()
	o.Observe(e)
}

// complain logs a panic of an observer. It may be the log itself that panics.
func (l *Listener) complain(e Event, v any, stack []byte) {
	defer func() { _ = recover() }()
	l.log.Error("an observer panicked", "listener", l.ref, "event", e.Kind.String(), "panic", v, "stack", string(stack))
}
