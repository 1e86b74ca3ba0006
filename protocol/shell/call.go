package shell

import (
	"context"
	"io"
	"net"
	"sync"

	"goranch/transport"
)

// Call is one run of a command. The command must not use it after Run has returned.
type Call struct {
	Args    []string          // arguments without flags
	Flags   map[string]string // flags given by the client; a switch has the value "true"
	Value   string            // the text after the name, as sent
	User    User
	Remote  net.Addr // address of the client that sent the request
	Session *State   // state of the session; only its running command accesses it
	// Out streams output to the client. Write blocks while the client reads too slowly, and fails
	// after the command was cancelled.
	Out io.Writer

	req    request
	runner *runner
	ctx    context.Context
	writer writer
	result any
	text   text // storage for a string result of a Method
	quit   bool // the session ends after the answer

	invocation *Invocation // nil: a request of a shell
}

// text is a string result. Its address in a Call converts to any without an allocation.
type text string

// calls pools the Calls of commands with reuseCall.
var calls = sync.Pool{New: func() any { return new(Call) }}

// newCall returns a Call for req. The caller passes it to release.
func (r *runner) newCall(req *request) *Call {
	var c *Call
	if req.cmd != nil && req.cmd.reuseCall {
		c = calls.Get().(*Call)
	} else {
		c = new(Call)
	}
	c.User, c.Remote, c.Session, c.Out = *req.c.user.Load(), req.c.remote, &r.state, &c.writer
	c.req, c.runner, c.ctx, c.writer.c = *req, r, r.shell.ctx, c
	return c
}

// release returns c to the pool if its command does not retain it.
func (c *Call) release() {
	if c.req.cmd != nil && c.req.cmd.reuseCall {
		*c = Call{}
		calls.Put(c)
	}
}

// Return sets the result; nil is none. In JSON it is the member "result" of the answer. In text a
// string is shown as it is, a [Table] as a table, [Fields] as aligned lines, a []string as lines,
// and everything else as JSON.
func (c *Call) Return(v any) { c.result = v }

// Frame streams an intermediate result that replaces the previous one, for commands that show
// changes over time. In text the frames follow each other. It blocks and fails like a Write to Out.
func (c *Call) Frame(v any) error {
	if c.invocation != nil {
		if c.invocation.Frame == nil {
			return nil
		}
		return c.invocation.Frame(v)
	}
	b, err := c.runner.appendFrame(nil, &c.req, v)
	if err != nil {
		return err
	}
	return c.runner.stream(c.ctx, b)
}

// Conn returns the connection that sent the request. It may have closed, or lost the session, while
// the command runs. For an [Invocation] without a connection it has the ID 0 and no other use.
func (c *Call) Conn() *transport.Conn {
	switch {
	case c.invocation == nil:
		return c.req.c.peer.Conn()
	case c.invocation.Conn == nil:
		return new(transport.Conn)
	}
	return c.invocation.Conn
}

// writer is Call.Out.
type writer struct {
	c       *Call
	midline bool // the last byte was not a line feed
}

// pieceSize is the largest piece of output, so that Write blocks between pieces if the client does
// not read.
const pieceSize = 16 << 10

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		out := piece
		if w.c.Session.JSON {
			out = appendOut(nil, w.c.runner.requestID(&w.c.req), piece)
		}
		if err := w.c.runner.stream(w.c.ctx, out); err != nil {
			return n, err
		}
		w.midline = piece[len(piece)-1] != '\n'
		n += len(piece)
		p = p[len(piece):]
	}
	return n, nil
}
