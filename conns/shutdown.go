package conns

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// StuckGrace is how long Shutdown waits, after it has closed the sockets, for the
// goroutines to notice, before it names those that have not.
const StuckGrace = time.Second

// StuckError names the connections whose protocol has not returned although its context
// is cancelled and its socket closed. Their goroutines cannot be ended from outside.
type StuckError struct {
	Conns []Info
}

func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d protocols ignore that their connection is closed:", len(e.Conns))
	for i, c := range e.Conns {
		if i == 10 {
			fmt.Fprintf(&b, " and %d more", len(e.Conns)-i)
			break
		}
		fmt.Fprintf(&b, " #%d from %v (%T);", c.ID, c.RemoteAddr, c.Protocol)
	}
	return strings.TrimSuffix(b.String(), ";")
}

// Shutdown ends all connections and returns when their goroutines are gone. From its
// call on none is admitted any more.
//
// First every connection is told: its context is cancelled with [ErrShutdown] as the
// cause and its reads fail at once, while its writes still work. Those that are left
// when ctx ends are closed, with [ErrAborted] as the cause for those that had no time to be
// told: a context that has ended already closes all at once. If protocols ignore even that for [StuckGrace], the error is a [*StuckError].
func (s *Supervisor) Shutdown(ctx context.Context) error {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		s.shards[i].stopping = true
		s.shards[i].mu.Unlock()
	}
	if ctx.Err() == nil {
		s.each(func(c *connection) { c.tell(ErrShutdown) })
	}
	gone := make(chan struct{})
	go func() {
		for i := range s.shards {
			s.shards[i].running.Wait()
		}
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	s.each(func(c *connection) { c.abort(Aborted, ErrAborted) })
	grace := time.NewTimer(StuckGrace)
	defer grace.Stop()
	select {
	case <-gone:
		return nil
	case <-grace.C:
	}
	if stuck := s.List(); len(stuck) > 0 {
		return &StuckError{Conns: stuck}
	}
	<-gone // gone meanwhile, but for the last instructions
	return nil
}

// each calls f for every connection that is registered now, with no lock held.
func (s *Supervisor) each(f func(*connection)) {
	var batch []*connection
	for i := range s.shards {
		batch = s.shards[i].snapshot(batch[:0])
		for _, c := range batch {
			f(c)
		}
	}
}

func (sh *shard) snapshot(to []*connection) []*connection {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return append(to, sh.live...)
}
