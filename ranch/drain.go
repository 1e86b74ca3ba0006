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

// serveBacklog waits until the acceptors have accepted the connections in the kernel's queues,
// which would be reset when the sockets are closed. It gives up when ctx ends, or after backlogTime
// or the ShutdownTimeout: at the cap a slot may never become free. It does nothing where the state
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
