package ranch

import (
	"runtime/debug"
	"time"

	"goranch/protocol"
)

// An acceptor that panics is restarted at once; after maxRestarts within restartPeriod there is a
// pause before each restart.
const (
	maxRestarts   = 5
	restartPeriod = 5 * time.Second
	restartPause  = time.Second
)

// supervise runs acceptor i, and restarts it when it panics, for example in the Accept of a user's
// listener.
func (a *acceptors) supervise(i int, s *socket) {
	a.l.emit(&Event{Kind: AcceptorStarted, Acceptor: i})
	defer a.l.emit(&Event{Kind: AcceptorStopped, Acceptor: i})
	var panics []time.Time
	for {
		err := a.recoverAccept(i, s)
		if err == nil {
			return
		}
		a.l.emit(&Event{Kind: AcceptorPanicked, Acceptor: i, Err: err})
		panics = append(panics, time.Now())
		if len(panics) <= maxRestarts {
			continue
		}
		first := panics[0]
		panics = panics[1:]
		if time.Since(first) < restartPeriod && !a.pause(restartPause) {
			return
		}
	}
}

func (a *acceptors) recoverAccept(i int, s *socket) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &protocol.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	a.accept(i, s)
	return nil
}
