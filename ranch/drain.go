package ranch

import (
	"context"
	"net"
	"time"

	"goranch/internal/backlog"
)

const (
	// backlogPoll is how often a draining listener looks at the kernel's queue.
	backlogPoll = 2 * time.Millisecond
	// backlogTime is how long it does so at most.
	backlogTime = 5 * time.Second
)

// serveBacklog lets the acceptors accept the connections in the kernel's queue, which would be reset
// when the sockets are closed. It returns when the queues are empty, when ctx ends, or after
// backlogTime or the ShutdownTimeout, since at the cap a slot is free only when a
// connection ends. Where the system cannot tell, it does nothing.
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
