package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/httpline"
	"goranch/protocol"
	"goranch/protocol/session"
)

// Texts of the wire protocol.
const (
	identification  = "Client identification "
	restored        = "Conexao restabelecida\n"
	alreadyAttached = "Você ja esta conectado."
)

// conn serves one connection. It is a protocol.Handler, whose callbacks are called one at a time.
type conn struct {
	shell   *Shell
	peer    *protocol.Peer
	remote  net.Addr
	user    atomic.Pointer[User]
	started time.Time
	guest   guest
	id      int  // id of the last request
	resumed bool // it is attached to a session of an earlier connection

	closed    chan struct{} // closed when no goroutine should wait for this connection
	closeOnce sync.Once

	// The callbacks read these fields without the lock, because only callbacks change them.
	mu     sync.Mutex
	lease  *session.Session[State]
	runner *runner
}

func (c *conn) markClosed() { c.closeOnce.Do(func() { close(c.closed) }) }

// close ends the connection.
func (c *conn) close(err error) {
	c.markClosed()
	c.peer.Close(err)
}

func (c *conn) currentRunner() *runner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runner
}

// HandleConnect authenticates the client, creates a session and sends its id.
func (c *conn) HandleConnect(p *protocol.Peer) protocol.Action {
	c.peer, c.remote, c.closed, c.started = p, p.Conn().RemoteAddr(), make(chan struct{}), time.Now()
	user, err := c.shell.opts.Authenticate(p.Context(), p.Conn())
	if err == nil {
		err = c.shell.addConn(c)
	}
	if err == nil {
		p.Conn().SetLabel("protocol", "shell")
		c.setUser(user)
		err = c.admitGuest()
	}
	if err != nil {
		return c.reject(err)
	}
	h := &holder{c: c}
	lease, err := c.shell.sessions.Create(p.Context(), c.remote, h, State{Dir: "/", Role: user.Role})
	if err != nil {
		return c.reject(err)
	}
	if err := c.attach(lease); err != nil {
		return c.reject(err)
	}
	h.release(func(int) []byte { return append(append([]byte(identification), lease.ID()...), '\n') })
	return protocol.Continue()
}

// reject sends the error to the client and ends the connection.
func (c *conn) reject(err error) protocol.Action {
	c.peer.Outbox().Send(appendTextError(nil, &Error{Message: err.Error()}))
	return protocol.Fail(err)
}

// attach attaches the connection to the runner of the session, which it makes if there is none.
func (c *conn) attach(lease *session.Session[State]) error {
	var r *runner
	err := lease.Do(func(st *State) {
		if st.runner == nil {
			st.runner = newRunner(c.shell, lease.Unbound(), st)
			c.shell.runners.Store(lease.Unbound(), st.runner)
		}
		r = st.runner
		r.attach(c)
	})
	if err != nil {
		return err
	}
	c.peer.Conn().SetLabel("client", session.PublicID(lease.ID()))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease, c.runner = lease, r
	return nil
}

// HandleData handles a frame of codec.
func (c *conn) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if isTooLong(frame) {
		return c.rejectLine()
	}
	f := filter(frame)
	if len(f.refusals) > 0 {
		p.Outbox().Send(f.refusals)
	}
	if f.interrupt {
		c.runner.interrupt(c, ErrCancelled)
		return protocol.Continue()
	}
	if len(f.line) > c.shell.opts.MaxLine {
		return c.rejectLine()
	}
	if c.id == 0 && httpline.IsRequest(f.line) { // a web page must not reach commands by lines of a body
		return c.reject(errHTTP)
	}
	if request := trimBlanks(f.line); len(request) > 0 {
		c.request(request)
	}
	return protocol.Continue()
}

var errHTTP = fmt.Errorf("%w: this is not an HTTP server", protocol.ErrBadInput)

func (c *conn) rejectLine() protocol.Action {
	return c.reject(fmt.Errorf("%w: a line has more than %d bytes", protocol.ErrFrameTooLarge, c.shell.opts.MaxLine))
}

// request handles a request, which is not empty and has no leading blanks. reconnect and cancel are
// handled here; all other commands are passed to the runner.
func (c *conn) request(b []byte) {
	c.id++
	if fault := checkText(b); fault != nil {
		c.answer(nil, fault)
		return
	}
	name := b[:nameEnd(b)]
	switch string(name) {
	case "reconnect":
		c.reconnect(strings.TrimSpace(split(string(b)).value))
	case "cancel":
		if c.runner.interrupt(c, ErrCancelled) {
			c.answer("cancelled", nil)
		} else {
			c.answer(nil, &Error{Message: "no command is running"})
		}
	default:
		c.runner.submit(request{c, c.id, c.shell.registry.findBytes(name), string(b)})
	}
}

// answer answers a request that the connection has handled itself.
func (c *conn) answer(v any, fault *Error) {
	r := c.runner
	var b []byte
	switch {
	case r.json.Load() && fault != nil:
		b = appendError(nil, c.id, fault)
	case r.json.Load():
		b, _ = appendResult(nil, c.id, v)
	case fault != nil:
		b = appendTextError(nil, fault)
	default:
		b, _ = appendText(nil, v, 0)
	}
	r.session.Output(b)
}

// reconnect attaches the connection to an earlier session, and ends the session it has.
func (c *conn) reconnect(id string) {
	c.flush()
	if !c.runner.waitIdle(c, c.peer.Context().Done()) {
		return
	}
	switch user := c.user.Load(); {
	case c.resumed || id == c.lease.ID():
		c.answer(alreadyAttached, nil)
		return
	case user.Role < Viewer:
		c.answer(nil, roleError("reconnect", Viewer, user.Role))
		return
	}
	h := &holder{c: c}
	lease, err := c.shell.sessions.Attach(c.peer.Context(), id, c.remote, h)
	if err != nil {
		e := &Error{Message: err.Error()}
		if errors.Is(err, session.ErrUnavailable) {
			e = &Error{Code: CodeUnavailable, Message: CodeUnavailable + ": " + err.Error()}
		}
		c.answer(nil, e)
		return
	}
	fresh, freshRunner := c.lease, c.runner
	if c.attach(lease) != nil {
		// Another connection has taken the session over since Attach. It gets the output that was
		// delivered to this one, which is about to be revoked.
		lease.Unbound().Output(h.takeBuffered())
	}
	c.resumed = true
	freshRunner.detach(c)
	fresh.End()
	h.release(c.greeting)
}

// greeting returns the answer to reconnect, which precedes the kept output.
func (c *conn) greeting(lost int) []byte {
	b := []byte(restored)
	switch {
	case lost > 0 && c.runner.json.Load():
		b = append(strconv.AppendInt(append(b, `{"event":"lost","bytes":`...), int64(lost), 10), "}\n"...)
	case lost > 0:
		b = fmt.Appendf(b, "(%d bytes of earlier output were lost)\n", lost)
	}
	return b
}

// flush sends the answers that the outbox holds back to combine them with those of further
// requests.
func (c *conn) flush() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.peer.Outbox().Wait(ctx) // flushes and, because ctx has ended, does not wait
}

// quit ends the session and the connection.
func (c *conn) quit() {
	c.mu.Lock()
	lease := c.lease
	c.mu.Unlock()
	lease.End()
	c.close(nil)
}

// HandleTimeout ends a connection that sends no requests and runs no command.
func (c *conn) HandleTimeout(*protocol.Peer) protocol.Action {
	if c.runner.isBusy() {
		return protocol.Continue()
	}
	return c.reject(fmt.Errorf("no request for %v: %w", c.shell.opts.ReadTimeout, os.ErrDeadlineExceeded))
}

// shutdownTimeout is how long HandleShutdown waits for a cancelled command.
const shutdownTimeout = 5 * time.Second

// HandleShutdown cancels the running command, so that its answer is sent before the connection
// ends.
func (c *conn) HandleShutdown(p *protocol.Peer) {
	if c.runner == nil {
		return
	}
	if c.runner.json.Load() {
		p.Outbox().Send([]byte("{\"event\":\"shutdown\"}\n"))
	} else {
		p.Outbox().Send([]byte("The server is stopping.\n"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	c.runner.shutDown(c, ctx.Done())
}

// HandleEnd handles a last request without a line feed, and waits for pending answers.
func (c *conn) HandleEnd(p *protocol.Peer, rest []byte) {
	if len(rest) > 0 {
		c.HandleData(p, rest)
	}
	if c.shell.opts.HalfCloseTimeout > 0 {
		ctx, cancel := context.WithTimeout(p.Context(), c.shell.opts.HalfCloseTimeout)
		defer cancel()
		c.runner.waitIdle(c, ctx.Done())
	}
}

// HandleClose detaches the session, which stays.
func (c *conn) HandleClose(*protocol.Peer, error) {
	c.markClosed()
	c.guest.end()
	c.shell.removeConn(c)
	if c.runner == nil {
		return
	}
	c.runner.detach(c)
	c.lease.Detach()
}
