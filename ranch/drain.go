package ranch

import (
	"context"
	"net"
	"time"

	"goranch/internal/backlog"
)

const (
	// backlogPoll is the period in which a draining listener checks the kernel's queue, for which
	// there is no event.
	backlogPoll = 2 * time.Millisecond
	// backlogTime limits these checks.
	backlogTime = 5 * time.Second
)

// DrainInfo is the progress of a drain.
type DrainInfo struct {
	Began       time.Time
	AcceptUntil time.Time // connections are accepted until then: Options.DrainDelay

	// These are zero while connections are accepted.
	AskUntil    time.Time // connections are asked to stop until then: Options.DrainSpread
	Connections int       // live when the listener had stopped accepting; ListenerInfo.AllConnections remain
	Asked       int       // connections that were asked to stop
}

// beginDrain accepts connections for the DrainDelay, and those in the kernel's queue. It returns
// the DrainSpread. l.lifecycleMu is held.
func (l *Listener) beginDrain(ctx context.Context) (spread time.Duration) {
	if ctx.Err() != nil {
		return 0
	}
	l.mu.Lock()
	now, delay := time.Now(), l.opts.DrainDelay
	if l.status != Running {
		delay = 0
	}
	if delay > 0 {
		l.status = Draining
	}
	l.drain = &DrainInfo{Began: now, AcceptUntil: now.Add(delay)}
	l.mu.Unlock()
	l.emit(&Event{Kind: ListenerDraining, Addr: l.Addr(), Duration: delay})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.expedited, cancel)()
	defer context.AfterFunc(l.aborted, cancel)()
	if delay > 0 {
		sleep(ctx, delay)
	}
	l.serveBacklog(ctx)
	return l.Options().DrainSpread
}

// connectionsAsked records that the connections are being asked to stop, over the spread. It has no
// effect unless the listener drains.
func (l *Listener) connectionsAsked(live int, spread time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drain != nil {
		l.drain.AskUntil, l.drain.Connections = time.Now().Add(spread), live
	}
}

// drainInfo returns the progress of the drain. l.mu is held.
func (l *Listener) drainInfo() *DrainInfo {
	if l.drain == nil {
		return nil
	}
	d := *l.drain
	d.Asked = int(l.asked.Load())
	return &d
}

// serveBacklog waits until the acceptors have accepted the connections in the kernel's queues,
// which would be reset when the sockets are closed. It returns when ctx ends, or after backlogTime
// or the ShutdownTimeout: at the cap, slots may never become free. It does nothing where the state
// of the queue is unknown.
func (l *Listener) serveBacklog(ctx context.Context) {
	l.mu.Lock()
	a, limit := l.acceptors, l.opts.ShutdownTimeout
	l.mu.Unlock()
	if a == nil || limit == BrutalKill || l.gate.State().Limit == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(limit, backlogTime))
	defer cancel()
	for _, s := range a.sockets {
		ln := s.listener()
		if backlog.Shrink(ln) != nil {
			continue
		}
		for pendingIn(ln) && sleep(ctx, backlogPoll) {
		}
	}
}

func pendingIn(ln net.Listener) bool {
	waiting, err := backlog.Pending(ln)
	return err == nil && waiting
}
