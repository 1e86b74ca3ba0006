package ranch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"goranch/conns"
	"goranch/protocol"
)

// Stop closes the listening sockets, asks the connections to stop, closes those that remain after
// the ShutdownTimeout, and returns when all goroutines of the listener have ended. The error is
// [ErrStopped] if the listener was stopped before, or a [*conns.StuckError] that names protocols
// that have not returned although their connections are closed.
//
// During a drain, Stop shortens it: delay and spread end at once, and the connections have the
// ShutdownTimeout from now on. The error is then ErrStopped, as the drain has stopped the listener.
func (l *Listener) Stop() error {
	l.expedite()
	return l.stop(context.Background(), 0)
}

// Drain is Stop with these differences. Connections may take until ctx ends, not the
// ShutdownTimeout, to stop. For Options.DrainDelay the listener is [Draining], and still accepts
// connections. Then the connections in the kernel's queue are accepted, for at most 5 s or the
// ShutdownTimeout: on Unix systems, and not for inherited sockets. Options.DrainSpread says over
// which period connections are asked to stop. When ctx ends, or if it has ended already, all of
// this is omitted, and the remaining connections are closed.
//
// A Drain during another has no effect, except that connections are closed when either ctx ends.
func (l *Listener) Drain(ctx context.Context) error { return l.stop(ctx, Infinity) }

// stop stops the listener, and closes connections that remain when ctx or timeout ends. A timeout
// of 0 is the ShutdownTimeout; [Infinity] is a drain.
func (l *Listener) stop(ctx context.Context, timeout time.Duration) error {
	drain := timeout == Infinity
	l.lockToStop(ctx, timeout)
	defer l.lifecycleMu.Unlock()
	if l.Status() == Stopped {
		return opErr("stop", l.ref, ErrStopped)
	}
	var spread time.Duration
	if drain {
		spread = l.beginDrain(ctx)
	}
	l.unlisten(Stopping, protocol.ErrShutdown)
	l.optionsMu.Lock() // no alarm starts after this
	l.cancel(protocol.ErrShutdown)
	l.optionsMu.Unlock()
	// The goroutines return at once, except for a Refuse that ignores its context.
	stuck := await(&l.background, rejectTime+stuckTime, errStuckRefuse)
	err := errors.Join(stuck, l.endConnections(ctx, timeout, spread))
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
	l.emit(&Event{Kind: ListenerStopped, Addr: l.Addr(), Err: err})
	return opErr("stop", l.ref, err)
}

// lockToStop locks lifecycleMu. While it waits for another stop or drain, it makes that one close
// its connections when ctx or timeout ends.
func (l *Listener) lockToStop(ctx context.Context, timeout time.Duration) {
	ctx, cancel := limit(ctx, cmp.Or(timeout, l.Options().ShutdownTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, l.abort)()
	l.lifecycleMu.Lock()
}

// endConnections asks all connections to stop and waits for them, until ctx or timeout ends.
func (l *Listener) endConnections(ctx context.Context, timeout, spread time.Duration) error {
	ctx, cancel := limit(ctx, cmp.Or(timeout, l.Options().ShutdownTimeout))
	defer cancel()
	defer context.AfterFunc(l.aborted, cancel)()
	l.connectionsAsked(int(l.sup.Counters().Live), spread)
	err := l.sup.Drain(ctx, conns.DrainOptions{Spread: spread, Expedited: l.expedited, Asked: func(n int) { l.asked.Add(int64(n)) }})
	l.stopMonitor()
	return errors.Join(err, await(&l.monitor, stuckTime, errStuckClose))
}

func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == Infinity {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d) // with BrutalKill, which is negative, it has ended
}

// Parts of the error of a stop.
var (
	errStuckRefuse = errors.New("a protocol's Refuse has not returned although its connection is closed")
	errStuckClose  = errors.New("a transport's Close has not returned")
)

// stuckTime is how long a stop waits for a Refuse to return after its connection was closed.
const stuckTime = time.Second

// await waits until the goroutines of wg have returned, and returns err if that takes longer than
// d.
func await(wg *sync.WaitGroup, d time.Duration, err error) error {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-t.C:
		return err
	}
}
