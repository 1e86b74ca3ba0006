package ranch

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

// start opens the sockets, and calls bound before the first event and connection. If it fails,
// nothing was started.
func (l *Listener) start(ctx context.Context, bound func()) error {
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	switch s := l.getStatus(); s {
	case Starting:
	case Stopped:
		return opErr("start", l.ref, ErrStopped)
	default:
		return opErr("start", l.ref, fmt.Errorf("%w: it is %s", ErrAlreadyStarted, s))
	}
	l.gate.Join(l.interruptAccept, l.yield)
	started := false
	defer func() {
		if !started { // listen failed, or PostListen panicked
			l.gate.Leave()
		}
	}()
	if err := l.listen(ctx, ListenerStarted, bound); err != nil {
		return opErr("start", l.ref, err)
	}
	started = true
	l.background.Go(func() { l.sup.Monitor(l.ctx) })
	l.optionsMu.Lock()
	defer l.optionsMu.Unlock()
	l.setAlarms(l.Options().Alarms)
	return nil
}

// Suspend closes the listening sockets; live connections continue. For a suspended listener it does
// nothing; for one that is not started or has stopped the error is [ErrStopped]. An inherited
// socket ("fd:N", "systemd:NAME") stays open in the process: the kernel queues clients, which are
// served after Resume.
func (l *Listener) Suspend() error {
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
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

// Resume opens the listening sockets again, on the same port, even if the system chose it. For a
// running listener it does nothing; for one that is not started or has stopped the error is
// [ErrStopped]. After an error the listener is still suspended.
func (l *Listener) Resume() error {
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	switch s := l.getStatus(); s {
	case Running:
		return nil
	case Suspended:
		return opErr("resume", l.ref, l.listen(context.Background(), ListenerResumed, func() {}))
	default:
		return opErr("resume", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
}

// Stop closes the listening sockets, asks the connections to stop, closes those that remain after
// the ShutdownTimeout, and returns when all goroutines of the listener have ended. The error is
// [ErrStopped] if the listener was stopped before, or a [*conns.StuckError] that names protocols
// that have not returned although their connections are closed.
func (l *Listener) Stop() error { return l.stop(context.Background(), 0) }

// Drain is Stop with two differences. Connections may take until ctx ends, not the ShutdownTimeout,
// to stop. And the connections in the kernel's queue are accepted first, for at most 5 s or the
// ShutdownTimeout, unless ctx has ended: on Unix systems, and not for inherited sockets.
func (l *Listener) Drain(ctx context.Context) error { return l.stop(ctx, Infinity) }

// stop closes connections when ctx or timeout ends; 0 is the ShutdownTimeout.
func (l *Listener) stop(ctx context.Context, timeout time.Duration) error {
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	if l.getStatus() == Stopped {
		return opErr("stop", l.ref, ErrStopped)
	}
	drain := timeout == Infinity
	if drain && ctx.Err() == nil {
		l.serveBacklog(ctx)
	}
	l.unlisten(Stopping, protocol.ErrShutdown)
	l.optionsMu.Lock() // no alarm starts after this
	l.cancel(protocol.ErrShutdown)
	l.optionsMu.Unlock()
	stuck := l.awaitBackground()
	option.Default(&timeout, l.Options().ShutdownTimeout)
	ctx, cancel := limit(ctx, timeout)
	defer cancel()
	err := errors.Join(stuck, l.sup.Shutdown(ctx))
	l.gate.Leave()
	l.setStatus(Stopped)
	if l.onStop != nil {
		l.onStop()
	}
	how := "by Stop"
	if drain {
		how = "by Drain"
	}
	l.setStopped(fmt.Errorf("%w %s", ErrStopped, how))
	l.emit(Event{Kind: ListenerStopped, Addr: l.Addr(), Err: err})
	return opErr("stop", l.ref, err)
}

func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == Infinity {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d) // with BrutalKill, which is negative, it has ended
}

// errStuckRefuse is part of the error of a stop.
var errStuckRefuse = errors.New("a protocol's Refuse has not returned although its connection is closed")

// stuckTime is how long a stop waits for a Refuse to return after its connection was closed.
const stuckTime = time.Second

// awaitBackground waits for the goroutines other than acceptors and connections. When l.ctx has
// ended, all return at once, except for a Refuse that ignores its context.
func (l *Listener) awaitBackground() error {
	ended := make(chan struct{})
	go func() {
		l.background.Wait()
		close(ended)
	}()
	limit := time.NewTimer(rejectTime + stuckTime)
	defer limit.Stop()
	select {
	case <-ended:
		return nil
	case <-limit.C:
		return errStuckRefuse
	}
}

// listen opens the sockets and starts the acceptors. l.lifecycleMu is held.
func (l *Listener) listen(ctx context.Context, kind EventKind, bound func()) error {
	l.mu.Lock()
	t, opts, addr := l.transport, l.opts, l.opts.Addr
	if l.addr != nil && l.boundAs == addr { // keep the port
		addr = engine.Rebind(addr, l.addr)
	}
	l.mu.Unlock()
	sockets, err := openSockets(ctx, t, opts, addr)
	if err != nil {
		return err
	}
	a := newAcceptors(l, t, opts, sockets)
	l.mu.Lock()
	l.acceptors, l.addr, l.boundAs, l.status = a, sockets[0].addr, opts.Addr, Running
	l.target.Store(&target{l.baseContext(ctx, t), l.target.Load().protocol})
	l.mu.Unlock()
	bound()
	l.emit(Event{Kind: kind, Addr: sockets[0].addr})
	a.start()
	return nil
}

// unlisten closes the sockets and waits for the acceptors. l.lifecycleMu is held.
func (l *Listener) unlisten(next Status, cause error) {
	l.mu.Lock()
	a := l.acceptors
	l.acceptors, l.status = nil, next
	l.mu.Unlock()
	if a != nil {
		a.stop(cause)
	}
}

// baseContext returns the parent of the contexts of connections: it has the values of ctx, and the
// labels by which profiles distinguish listeners.
func (l *Listener) baseContext(ctx context.Context, t transport.Transport) context.Context {
	return pprof.WithLabels(context.WithoutCancel(ctx), pprof.Labels("listener", l.ref, "transport", t.Name()))
}

func (l *Listener) getStatus() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *Listener) setStatus(s Status) {
	l.mu.Lock()
	l.status = s
	l.mu.Unlock()
}
