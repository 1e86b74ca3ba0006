package shell

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
)

// live is what a session does, whoever is attached to it: it runs one command after the other.
type live struct {
	shell   *Shell
	session *session.Session[State]
	state   State        // the running command's, and whose turn it is to run one
	save    func(*State) // state.saveIn
	json    atomic.Bool  // state.JSON, for others

	mu      sync.Mutex   // not held while the session is called
	at      *conn        // who is attached; nil: nobody
	gen     uint64       // of at
	busy    bool         // a command is running
	ctx     *callContext // of that command; nil: it has none of its own
	queue   []request
	ended   bool
	changed chan struct{} // closed at the next change of busy or queue; nil: nobody waits
}

// request is one that a client has sent.
type request struct {
	c    *conn
	n    int      // its number in the connection
	cmd  *Command // nil: there was none of its name when it came
	text string
}

// maxWaiting is how many requests may wait while one is run. Then nothing is read.
const maxWaiting = 64

// highWater is how much output may wait for a client before commands are held back.
const highWater = 64 << 10

func newLive(s *Shell, one *session.Session[State], kept *State) *live {
	lv := &live{shell: s, session: one, state: kept.copyOf()}
	lv.save = lv.state.saveIn
	lv.json.Store(lv.state.JSON)
	return lv
}

// attach makes c the connection that is heard, unless a later one is.
func (lv *live) attach(c *conn, gen uint64) {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	if gen >= lv.gen {
		lv.at, lv.gen, lv.queue = c, gen, nil
		lv.change()
	}
}

// detach forgets c and the requests of it which have not begun.
func (lv *live) detach(c *conn) {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	if lv.at == c {
		lv.at, lv.queue = nil, nil
		lv.change()
	}
}

// end cancels what the session does: it is over.
func (lv *live) end() {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	lv.ended, lv.queue = true, nil
	if lv.ctx != nil {
		lv.ctx.cancel(ErrSessionEnded)
	}
	lv.change()
}

// change wakes those who wait. lv.mu is held.
func (lv *live) change() {
	if lv.changed != nil {
		close(lv.changed)
		lv.changed = nil
	}
}

// wait waits until ok, which is asked with lv.mu held. false: c or the session is gone, or end has come.
func (lv *live) wait(c *conn, end <-chan struct{}, ok func() bool) bool {
	for {
		lv.mu.Lock()
		if lv.ended || ok() {
			defer lv.mu.Unlock()
			return !lv.ended
		}
		if lv.changed == nil {
			lv.changed = make(chan struct{})
		}
		changed := lv.changed
		lv.mu.Unlock()
		select {
		case <-changed:
		case <-c.gone:
			return false
		case <-end:
			return false
		}
	}
}

// idle waits until nothing is run.
func (lv *live) idle(c *conn, end <-chan struct{}) bool {
	return lv.wait(c, end, func() bool { return !lv.busy && len(lv.queue) == 0 })
}

// submit runs a request when those before it have been. It is called in the turn of the connection, and waits if
// too many wait already.
func (lv *live) submit(r request) {
	if !lv.take(&r) {
		return
	}
	if r.cmd != nil && r.cmd.Quick {
		lv.run(&r)
		if next, more := lv.next(); more {
			lv.start(next)
		}
		return
	}
	lv.start(r)
}

// take takes the session's turn for r; false: r waits for its own, or is dropped.
func (lv *live) take(r *request) bool {
	lv.mu.Lock()
	if len(lv.queue) >= maxWaiting {
		lv.mu.Unlock()
		r.c.flushHeld()
		if !lv.wait(r.c, r.c.peer.Context().Done(), func() bool { return len(lv.queue) < maxWaiting }) {
			return false
		}
		lv.mu.Lock()
	}
	defer lv.mu.Unlock()
	if lv.ended || lv.at != r.c {
		return false
	}
	if lv.busy {
		lv.queue = append(lv.queue, *r)
		return false
	}
	lv.busy = true
	return true
}

// start goes on in a goroutine.
func (lv *live) start(r request) {
	if !lv.shell.start(job{lv, r}) {
		lv.abandon()
	}
}

// abandon gives the turn away, and drops what waits for it.
func (lv *live) abandon() {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	lv.busy, lv.ctx, lv.queue = false, nil, nil
	lv.change()
}

// work runs requests until none waits.
func (lv *live) work(r request) {
	for more := true; more; r, more = lv.next() {
		lv.run(&r)
	}
}

// next returns the request that is to be run, or gives the turn away.
func (lv *live) next() (r request, more bool) {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	lv.ctx = nil
	if more = len(lv.queue) > 0; more {
		r, lv.queue[0] = lv.queue[0], request{}
		lv.queue = lv.queue[1:]
	} else {
		lv.busy, lv.queue = false, nil
	}
	lv.change()
	return r, more
}

// interrupt cancels, for c, the running command and drops what waits; false: there was nothing.
func (lv *live) interrupt(c *conn, cause error) bool {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	if !lv.busy || lv.at != c { // who was taken over has nothing to say
		return false
	}
	if lv.ctx != nil {
		lv.ctx.cancel(cause)
	}
	for i := range lv.queue {
		lv.queue[i].text = "" // it is answered in its turn
	}
	return true
}

// stop cancels what runs for c, and waits for its end.
func (lv *live) stop(c *conn, end <-chan struct{}) {
	if lv.interrupt(c, protocol.ErrShutdown) {
		lv.idle(c, end)
	}
}

// number is that of a request for the client that is attached: 0 if it has come from another one.
func (lv *live) number(r *request) int {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	if lv.at != r.c {
		return 0
	}
	return r.n
}

// stream sends output of a command, when the client has taken most of what it got before.
func (lv *live) stream(ctx context.Context, b []byte) error {
	for {
		lv.mu.Lock()
		at := lv.at
		lv.mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if at == nil || at.peer.Outbox().Queued() < highWater {
			return lv.session.Output(b)
		}
		if at.peer.Outbox().Wait(ctx) != nil && ctx.Err() == nil {
			return lv.session.Output(b) // the connection has failed: it is kept
		}
	}
}

// run runs one request and answers it.
func (lv *live) run(r *request) {
	call := lv.newCall(r)
	defer call.guard()
	var began time.Time
	if lv.shell.opts.Audit != nil {
		began = time.Now()
	}
	cmd, err := lv.prepare(call, r.cmd)
	if err == nil {
		err = lv.call(call, cmd)
	}
	var fault *Error
	if err != nil {
		fault = asError(call.ctx, err)
		lv.shell.failures.Add(1)
	}
	lv.shell.requests.Add(1)
	if cmd != nil && cmd.Changes && lv.shell.opts.Audit != nil {
		call.audit(cmd, began, err)
	}
	lv.json.Store(lv.state.JSON)
	lv.session.Do(lv.save)
	b := answers.Get().(*[]byte)
	*b = lv.appendAnswer((*b)[:0], call, fault)
	if len(*b) > 0 {
		lv.session.Output(*b)
	}
	if cap(*b) <= 64<<10 {
		answers.Put(b)
	}
	quit := call.quit
	call.done()
	if quit {
		r.c.quit()
	}
}

// audit is apart from run, which needs less stack so.
//
//go:noinline
func (c *Call) audit(cmd *Command, began time.Time, err error) {
	c.lv.shell.opts.Audit(AuditEntry{began, c.User, c.Remote.String(), cmd.Name, c.req.text, err, time.Since(began)})
}

var answers = sync.Pool{New: func() any { return new([]byte) }}

// prepare finds the command of a request, and its arguments.
func (lv *live) prepare(call *Call, cmd *Command) (*Command, error) {
	if call.req.text == "" {
		return nil, &Error{Code: CodeCancelled, Message: ErrCancelled.Error()}
	}
	if strings.HasPrefix(call.req.text, "!") {
		text, err := lv.state.recall(call.req.text)
		if err != nil {
			return nil, err
		}
		call.req.text, cmd = text, nil
	}
	l := split(call.req.text)
	if cmd == nil {
		cmd = lv.shell.registry.find(l.name)
	}
	if call.User.Role > Guest && (cmd == nil || !cmd.secret) { // a guest's may be a mistyped token
		lv.state.remember(call.req.text, lv.shell.opts.History)
	}
	switch {
	case cmd == nil:
		return nil, &Error{Code: CodeUnknown, Message: "unknown command " + quoted(l.name), Suggestion: lv.shell.registry.suggest(l.name, call.User.Role)}
	case cmd.Role > call.User.Role:
		return cmd, Denied("%s needs a role of %s; yours is %s", cmd.Name, cmd.Role, call.User.Role)
	}
	call.Value = l.value
	if cmd.Raw {
		return cmd, nil
	}
	args, err := l.args()
	if err != nil {
		return cmd, Usage("%v", err)
	}
	if !l.colon {
		args, call.Flags, err = cmd.flags(args)
		if err != nil {
			return cmd, err
		}
	}
	call.Args = args
	return cmd, cmd.count(len(args))
}

// call runs the command. What waits for it to end can cancel it.
func (lv *live) call(call *Call, cmd *Command) (err error) {
	if !cmd.Quick {
		ctx := &callContext{parent: lv.shell.ctx}
		defer ctx.cancel(context.Canceled)
		call.ctx = ctx
		lv.mu.Lock()
		lv.ctx = ctx
		if lv.ended {
			ctx.cancel(ErrSessionEnded)
		}
		lv.mu.Unlock()
	}
	err = errInternal // should it panic
	defer call.guard()
	return cmd.Run(call.ctx, call)
}

var errInternal = &Error{Message: "internal error"}

// guard, deferred, makes a panic the end of the connection that has asked for the command.
func (c *Call) guard() {
	if v := recover(); v != nil {
		c.req.c.peer.Close(&protocol.PanicError{Value: v, Stack: debug.Stack()})
	}
}
