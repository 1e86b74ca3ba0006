package shell

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"goranch/protocol"
)

// answers pools the buffers of answers.
var answers = sync.Pool{New: func() any { return new([]byte) }}

// run runs one request and answers it.
func (r *runner) run(req *request) {
	call := r.newCall(req)
	defer call.recoverPanic()
	var start time.Time
	if r.shell.opts.Audit != nil {
		start = time.Now()
	}
	cmd, err := r.prepare(call, req.cmd)
	if err == nil {
		err = r.call(call, cmd)
	}
	var fault *Error
	if err != nil {
		fault = asError(call.ctx, err)
		r.shell.failures.Add(1)
	}
	r.shell.requests.Add(1)
	if cmd != nil && cmd.Changes && r.shell.opts.Audit != nil {
		call.audit(cmd, start, err)
	}
	r.json.Store(r.state.JSON)
	r.session.Do(r.saveState)
	if !r.saved { // a session exists for its client once a request was answered
		r.saved = true
		r.session.Sync(r.shell.ctx) // an error is reported by the manager, and the save is retried
	}
	b := answers.Get().(*[]byte)
	*b = r.appendAnswer((*b)[:0], call, fault)
	if len(*b) > 0 {
		r.session.Output(*b)
	}
	if cap(*b) <= 64<<10 {
		answers.Put(b)
	}
	quit := call.quit
	call.release()
	if quit {
		req.c.quit()
	}
}

// audit is not inlined, so that run needs less stack.
//
//go:noinline
func (c *Call) audit(cmd *Command, start time.Time, err error) {
	c.runner.shell.opts.Audit(AuditEntry{start, c.User, c.Remote.String(), cmd.Name, c.req.text, err, time.Since(start)})
}

// prepare finds the command of a request, checks the role, and parses the arguments into call. A
// command may be returned with an error.
func (r *runner) prepare(call *Call, cmd *Command) (*Command, error) {
	if call.req.text == "" {
		return nil, &Error{Code: CodeCancelled, Message: ErrCancelled.Error()}
	}
	if strings.HasPrefix(call.req.text, "!") {
		text, err := r.state.fromHistory(call.req.text)
		if err != nil {
			return nil, err
		}
		call.req.text, cmd = text, nil
	}
	l := split(call.req.text)
	if cmd == nil {
		cmd = r.shell.registry.find(l.name)
	}
	if call.User.Role > Guest && (cmd == nil || !cmd.secret) { // a guest's line may be a mistyped token
		r.state.addHistory(call.req.text, r.shell.opts.History)
	}
	switch {
	case cmd == nil:
		return nil, r.shell.unknownCommand(l.name, call.User.Role)
	case cmd.Role > call.User.Role:
		return cmd, roleError(cmd.Name, cmd.Role, call.User.Role)
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
		args, call.Flags, err = cmd.parseFlags(args)
		if err != nil {
			return cmd, err
		}
	}
	call.Args = args
	return cmd, cmd.checkCount(len(args))
}

func (s *Shell) unknownCommand(name string, role Role) *Error {
	return &Error{Code: CodeUnknown, Message: "unknown command " + quoted(name), Suggestion: s.registry.suggest(name, role)}
}

func roleError(command string, required, has Role) *Error {
	return denied("%s requires the role %s; your role is %s", command, required, has)
}

// errInternal is the answer to a command that panics.
var errInternal = &Error{Message: "internal error"}

// call runs the command. Unless it is Quick, interrupt and end can cancel its context.
func (r *runner) call(call *Call, cmd *Command) (err error) {
	if !cmd.Quick {
		ctx := &lazyContext{parent: r.shell.ctx}
		defer ctx.cancelCause(context.Canceled)
		call.ctx = ctx
		r.mu.Lock()
		r.ctx = ctx
		if r.ended {
			ctx.cancelCause(ErrSessionEnded)
		} else if r.earlyCancel != nil {
			ctx.cancelCause(r.earlyCancel)
		}
		r.mu.Unlock()
	}
	err = errInternal // returned if Run panics
	defer call.recoverPanic()
	return cmd.Run(call.ctx, call)
}

// recoverPanic is deferred. It closes the connection that sent the request with the panic.
func (c *Call) recoverPanic() {
	if v := recover(); v != nil {
		c.req.c.peer.Close(&protocol.PanicError{Value: v, Stack: debug.Stack()})
	}
}
