package conns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"goranch/protocol"
)

// stuckGrace is how long Shutdown waits for goroutines to return after it has closed the sockets.
const stuckGrace = time.Second

// StuckError lists the connections whose protocol has not returned although its context is
// cancelled and its socket closed. Go cannot end their goroutines from outside.
type StuckError struct {
	Conns []Info
}

func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d protocols have not returned although their connections are closed:", len(e.Conns))
	for i, c := range e.Conns {
		if i == 10 {
			fmt.Fprintf(&b, " and %d more", len(e.Conns)-i)
			break
		}
		fmt.Fprintf(&b, " #%d from %v (%T);", c.ID, c.RemoteAddr, c.Protocol)
	}
	return strings.TrimSuffix(b.String(), ";")
}

// Shutdown ends all connections and returns when their goroutines have returned. From then on no
// connection is admitted. Connections are first asked to stop: their contexts are cancelled with
// protocol.ErrShutdown as the cause, and their reads fail, while writes still work. When ctx ends,
// or if it has ended already, the remaining ones are closed, for the reason [Aborted]. If protocols
// do not return within a second after that, the error is a [*StuckError].
func (s *Supervisor) Shutdown(ctx context.Context) error {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		s.shards[i].stopping = true
		s.shards[i].mu.Unlock()
	}
	if ctx.Err() == nil {
		s.each(func(c *connection) { c.requestStop(protocol.ErrShutdown) })
	}
	ended := make(chan struct{})
	go func() {
		for i := range s.shards {
			s.shards[i].running.Wait()
		}
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.each(func(c *connection) { c.close(Aborted, Aborted) })
	grace := time.NewTimer(stuckGrace)
	defer grace.Stop()
	select {
	case <-ended:
		return nil
	case <-grace.C:
	}
	if stuck, _ := s.Select(Query{}); len(stuck) > 0 {
		return &StuckError{Conns: stuck}
	}
	<-ended // all are deregistered; their goroutines are about to return
	return nil
}
