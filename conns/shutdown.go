package conns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// stuckGrace is how long Drain waits for goroutines to return after it has closed the sockets.
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

// DrainOptions are the options of [Supervisor.Drain]. The zero value of each field is its default.
type DrainOptions struct {
	// Spread is the period over which connections are asked to stop, each at a random time, so that
	// their clients do not all connect elsewhere at once. 0 or less asks all at once.
	Spread time.Duration
	// Expedited, when it ends, makes Drain ask the remaining connections at once. nil never ends.
	Expedited context.Context
	// Asked is called by Drain, in its goroutine, with the number of connections that it has asked
	// since the last call. nil is none.
	Asked func(n int)
}

// Drain ends all connections and returns when their goroutines have returned. From its call on, no
// connection is admitted. Connections are first asked to stop: their contexts are cancelled with
// protocol.ErrShutdown as the cause, and their reads fail, while writes still work. When ctx ends,
// or if it has ended already, the remaining ones are closed, for the reason [Aborted]. If protocols
// do not return within a second after that, the error is a [*StuckError].
//
// Monitor should run until Drain has returned, for the limits of connections that are not asked
// yet.
func (s *Supervisor) Drain(ctx context.Context, o DrainOptions) error {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		s.shards[i].stopping = true
		s.shards[i].mu.Unlock()
	}
	ended := make(chan struct{})
	if ctx.Err() != nil {
		go s.waitEnded(ended)
	} else if o.Spread <= 0 {
		s.requestStops(&o, 1, 0)
		go s.waitEnded(ended)
	} else {
		go s.waitEnded(ended)
		s.requestStopsOver(ctx, &o, ended)
	}
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

// waitEnded closes ended when the goroutines of all connections have returned.
func (s *Supervisor) waitEnded(ended chan<- struct{}) {
	for i := range s.shards {
		s.shards[i].running.Wait()
	}
	close(ended)
}

// shortestAsk is the shortest time between two rounds of requestStopsOver.
const shortestStopInterval = 10 * time.Millisecond

// requestStopsOver asks all connections to stop over the period o.Spread, until ended is closed or
// ctx ends. Like Monitor it uses at most a fiftieth of a core. It keeps no list of connections, so
// that ended connections are freed.
func (s *Supervisor) requestStopsOver(ctx context.Context, o *DrainOptions, ended <-chan struct{}) {
	expedited := o.Expedited
	if expedited == nil {
		expedited = context.Background()
	}
	seed := rand.Uint64()
	begin := s.now()
	t := time.NewTimer(0)
	defer t.Stop()
	for share := 0.0; share < 1; {
		select {
		case <-t.C:
			share = float64(s.now()-begin) / float64(o.Spread)
		case <-expedited.Done():
			share = 1
		case <-ended:
			return
		case <-ctx.Done():
			return
		}
		round := s.now()
		s.requestStops(o, share, seed)
		left := o.Spread - time.Duration(s.now()-begin)
		t.Reset(max(min(left, max(shortestStopInterval, time.Duration(50*(s.now()-round)))), 0))
	}
}

// requestStops asks that share of the connections, from 0 to 1, to stop. With the same seed, a
// larger share includes a smaller one. Connections that were asked before are skipped.
func (s *Supervisor) requestStops(o *DrainOptions, share float64, seed uint64) {
	n := 0
	s.each(func(c *connection) {
		if (share >= 1 || fraction(c.conn.ID()^seed) < share) && c.stopAt.Load() == 0 && c.shutDown() {
			n++
		}
	})
	if n > 0 && o.Asked != nil {
		o.Asked(n)
	}
}
