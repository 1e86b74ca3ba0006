package shell

import (
	"context"
	"io"
	"net"
	"sync"

	"goranch/transport"
)

// Call is one command being run. It is for its command's Run, until that returns.
type Call struct {
	Args    []string          // without flags
	Flags   map[string]string // those that were given; a switch is "true"
	Value   string            // what follows the name, as it was sent
	User    User
	Remote  net.Addr  // of the connection that has asked
	Session *State    // the session's own; only its running command touches it
	Out     io.Writer // streams to the client; it waits for a slow one, and fails when the command is to end

	req    request
	lv     *live
	ctx    context.Context
	writer writer
	result any
	text   text // what result points to, if it is a string of a method
	quit   bool // the session is to end
}

// text is a string that is a result without having been allocated for that.
type text string

var calls = sync.Pool{New: func() any { return new(Call) }}

// newCall returns a Call for r, to be given to done.
func (lv *live) newCall(r *request) *Call {
	var c *Call
	if r.cmd != nil && r.cmd.frugal {
		c = calls.Get().(*Call)
	} else {
		c = new(Call)
	}
	c.User, c.Remote, c.Session, c.Out = *r.c.user.Load(), r.c.remote, &lv.state, &c.writer
	c.req, c.lv, c.ctx, c.writer.c = *r, lv, lv.shell.ctx, c
	return c
}

// done is the end of c, of which nobody knows any more.
func (c *Call) done() {
	if c.req.cmd != nil && c.req.cmd.frugal {
		*c = Call{}
		calls.Put(c)
	}
}

// Return sets the result. In text it is shown as: a string as it is; a Table as a table; a Fields as aligned lines;
// a []string as lines; anything else as JSON. With format:json it is the "result" of the answer. nil is none.
func (c *Call) Return(v any) { c.result = v }

// Frame streams a result that replaces the one before it, as a command does that shows how things
// change. In text each follows the other. It waits, and fails, as a write to Out does.
func (c *Call) Frame(v any) error {
	b, err := c.lv.appendFrame(nil, &c.req, v)
	if err != nil {
		return err
	}
	return c.lv.stream(c.ctx, b)
}

// Width is how many characters a line of text may have: the session's variable "columns"; 0 is any number.
func (c *Call) Width() int { return c.Session.width() }

// writer streams what a command writes.
type writer struct {
	c       *Call
	midline bool // the last byte was not the end of a line
}

// pieceSize is how much output goes to the client at once, so that a client that does not read holds
// the command back.
const pieceSize = 16 << 10

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		out := piece
		if w.c.Session.JSON {
			out = appendOut(nil, w.c.lv.number(&w.c.req), piece)
		}
		if err := w.c.lv.stream(w.c.ctx, out); err != nil {
			return n, err
		}
		w.midline = piece[len(piece)-1] != '\n'
		n += len(piece)
		p = p[len(piece):]
	}
	return n, nil
}

// Conn is the connection that has asked. It may have gone, or lost the session, while the command is running.
func (c *Call) Conn() *transport.Conn { return c.req.c.peer.Conn() }
