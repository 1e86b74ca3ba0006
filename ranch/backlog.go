package ranch

import (
	"context"
	"net"
	"time"

	"goranch/transport"
)

const (
	// backlogLook is how often a draining listener looks whether somebody waits in the queue.
	backlogLook = 2 * time.Millisecond
	// backlogTime is how long it does so at most.
	backlogTime = 5 * time.Second
)

// serveBacklog lets those be served who have connected but wait in the kernel's queue:
// closing the sockets would reset them. It returns when the queues are empty, when ctx ends,
// or after backlogTime or the ShutdownTimeout, since at the cap only connections that end make
// room. Where the system cannot tell, it does nothing.
func (l *Listener) serveBacklog(ctx context.Context) {
	l.state.Lock()
	a, limit := l.acceptors, l.opts.ShutdownTimeout
	l.state.Unlock()
	if a == nil || limit == BrutalKill || l.MaxConnections() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(limit, backlogTime))
	defer cancel()
	for _, s := range a.sockets {
		ln := s.listener()
		if transport.CloseBacklog(ln) != nil {
			continue
		}
		for backlogged(ln) && sleep(ctx, backlogLook) {
		}
	}
}

func backlogged(ln net.Listener) bool {
	waiting, err := transport.Backlogged(ln)
	return err == nil && waiting
}

func (s *socket) listener() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln
}
