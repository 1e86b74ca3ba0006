package ranch

import (
	"context"
	"fmt"
	"runtime/pprof"

	"goranch/internal/engine"
	"goranch/transport"
)

// waitLock is a lock that is held while its owner waits, for example for connections to end. It is
// not a sync.Mutex, because the clock of a testing/synctest bubble stops while a goroutine waits
// for one.
type waitLock chan struct{}

func (l waitLock) Lock()   { l <- struct{}{} }
func (l waitLock) Unlock() { <-l }

// start opens the sockets, and calls bound before the first event and connection. If it fails,
// nothing was started.
func (l *Listener) start(ctx context.Context, bound func()) error {
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	switch s := l.Status(); s {
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
	l.monitor.Go(func() { l.sup.Monitor(l.monitored) })
	l.optionsMu.Lock()
	defer l.optionsMu.Unlock()
	l.setAlarms(l.Options().Alarms)
	return nil
}

// Suspend closes the listening sockets; live connections continue. For a suspended listener it does
// nothing; for one that is not started, is stopping or has stopped the error is [ErrStopped]. An
// inherited socket ("fd:N", "systemd:NAME") stays open in the process: the kernel queues clients,
// which are served after Resume.
func (l *Listener) Suspend() error {
	if s := l.Status(); s == Draining || s == Stopping { // a drain may hold the lock for a long time
		return opErr("suspend", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	switch s := l.Status(); s {
	case Suspended:
		return nil
	case Running:
		l.unlisten(Suspended, errSuspended)
		l.emit(&Event{Kind: ListenerSuspended, Addr: l.Addr()})
		return nil
	default:
		return opErr("suspend", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
}

// Resume opens the listening sockets again, on the same port, even if the system chose it. For a
// running listener it does nothing; for one that is not started, is stopping or has stopped the
// error is [ErrStopped]. After an error the listener is still suspended.
func (l *Listener) Resume() error {
	if s := l.Status(); s == Draining || s == Stopping { // a drain may hold the lock for a long time
		return opErr("resume", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
	}
	l.lifecycleMu.Lock()
	defer l.lifecycleMu.Unlock()
	switch s := l.Status(); s {
	case Running:
		return nil
	case Suspended:
		return opErr("resume", l.ref, l.listen(context.Background(), ListenerResumed, func() {}))
	default:
		return opErr("resume", l.ref, fmt.Errorf("%w (%s)", ErrStopped, s))
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
	l.emit(&Event{Kind: kind, Addr: sockets[0].addr})
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

// Status returns the status at this instant. Unlike Info it visits no connection.
func (l *Listener) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *Listener) setStatus(s Status) {
	l.mu.Lock()
	l.status = s
	l.mu.Unlock()
}
