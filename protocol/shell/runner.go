package shell

import (
	"context"
	"sync"
	"sync/atomic"

	"goranch/protocol"
	"goranch/protocol/session"
)

// runner runs the commands of one session, one at a time, for whichever connection is attached. It
// exists from the first attachment in this process until the session ends.
type runner struct {
	shell   *Shell
	session *session.Session[State] // unbound

	// state is accessed only by the command that is running. saveState copies it to the session.
	state     State
	saveState func(*State)
	saved     bool        // the session was saved with its first request
	json      atomic.Bool // state.JSON, for other goroutines

	// mu may be acquired while the session is locked; the session is not used while mu is held.
	mu          sync.Mutex
	conn        *conn        // attached connection; nil: none
	busy        bool         // a command is running
	ctx         *lazyContext // context of that command; nil: a Quick one, which cannot be cancelled
	earlyCancel error        // cause of an interrupt before ctx was set
	queue       []request
	ended       bool          // the session has ended
	changed     chan struct{} // closed at the next change of the fields above; nil: no goroutine waits
}

func newRunner(s *Shell, sess *session.Session[State], stored *State) *runner {
	r := &runner{shell: s, session: sess, state: stored.workingCopy()}
	r.saveState = r.state.saveTo
	r.json.Store(r.state.JSON)
	return r
}

// attach makes c the attached connection. It is called with the session locked and attached to c,
// so that concurrent takeovers attach in the order of the session.
func (r *runner) attach(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn, r.queue = c, nil
	r.signal()
}

// detach removes c and its queued requests, if c is attached. The running command continues.
func (r *runner) detach(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == c {
		r.conn, r.queue = nil, nil
		r.signal()
	}
}

// end cancels the running command and drops queued requests, because the session has ended.
func (r *runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.queue = true, nil
	if r.ctx != nil {
		r.ctx.cancelCause(ErrSessionEnded)
	}
	r.signal()
}

// signal wakes the goroutines in waitUntil. r.mu is held.
func (r *runner) signal() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// waitUntil waits until ok, called with r.mu held, returns true. It returns false if the session
// ends, c closes or done is closed before.
func (r *runner) waitUntil(c *conn, done <-chan struct{}, ok func() bool) bool {
	for {
		r.mu.Lock()
		if r.ended || ok() {
			defer r.mu.Unlock()
			return !r.ended
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-c.closed:
			return false
		case <-done:
			return false
		}
	}
}

// waitIdle waits until no command runs and no request is queued.
func (r *runner) waitIdle(c *conn, done <-chan struct{}) bool {
	return r.waitUntil(c, done, func() bool { return !r.busy && len(r.queue) == 0 })
}

func (r *runner) isBusy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy
}

// interrupt cancels the running command and the queued requests of c, with cause. It returns false
// if there are none, or if c has lost the session.
func (r *runner) interrupt(c *conn, cause error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.busy || r.conn != c {
		return false
	}
	if r.ctx != nil {
		r.ctx.cancelCause(cause)
	} else {
		r.earlyCancel = cause // the worker has not set the context yet
	}
	for i := range r.queue {
		r.queue[i].text = "" // answered as cancelled, in order
	}
	return true
}

// shutDown cancels what runs for c, and waits until it has ended.
func (r *runner) shutDown(c *conn, done <-chan struct{}) {
	if r.interrupt(c, protocol.ErrShutdown) {
		r.waitIdle(c, done)
	}
}

// requestID returns the id of a request for the attached client: 0 if another connection sent it.
func (r *runner) requestID(req *request) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != req.c {
		return 0
	}
	return req.id
}

// highWater is the amount of queued output at which commands block in Write.
const highWater = 8 << 10

// pauseAt is the amount of queued output at which a connection is not read. Commands wait earlier,
// at highWater, and their connection is read meanwhile, because it may cancel them.
const pauseAt = 60 << 10

// stream sends output of a command. It blocks while the client's queue is above highWater.
func (r *runner) stream(ctx context.Context, b []byte) error {
	for {
		r.mu.Lock()
		c := r.conn
		r.mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if c == nil || c.peer.Outbox().Queued() < highWater {
			return r.session.Output(b)
		}
		if c.peer.Outbox().WaitBelow(ctx, highWater) != nil && ctx.Err() == nil {
			return r.session.Output(b) // the connection has failed; the session keeps the output
		}
	}
}
