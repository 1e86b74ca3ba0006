package shell

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
)

// What the protocol says in the words of its first server.
const (
	identification = "Client identification "
	restored       = "Conexao restabelecida\n"
	already        = "Você ja esta conectado."
)

// conn serves one connection.
type conn struct {
	shell   *Shell
	peer    *protocol.Peer
	remote  net.Addr
	user    atomic.Pointer[User]
	began   time.Time
	gone    chan struct{} // closed when it is not to be waited for
	leaving sync.Once
	n       int  // requests so far
	resumed bool // it drives an earlier session

	mu    sync.Mutex // guards what follows, which only the connection's turn changes
	lease *session.Lease[State]
	lv    *live
}

// holder is a connection's hold on one session. What comes before ready is kept back.
type holder struct {
	c     *conn
	mu    sync.Mutex
	ready bool
	early []byte
	lost  int
	last  func() // what is to be done when it is ready
}

func (h *holder) Resumed(lost int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = lost
	return nil
}

func (h *holder) Deliver(output []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ready {
		h.early = append(h.early, output...)
		return nil
	}
	err := h.c.peer.SendEncoded(output)
	if err != nil {
		h.c.leaving.Do(func() { close(h.c.gone) })
	}
	return err
}

// begin lets out what was kept, behind what says that there is some.
func (h *holder) begin(greeting []byte) {
	h.mu.Lock()
	h.ready = true
	h.c.peer.SendEncoded(append(greeting, h.early...)) // an error ends the connection
	h.early = nil
	last := h.last
	h.mu.Unlock()
	if last != nil {
		last()
	}
}

// finally does what ends the connection, behind the greeting.
func (h *holder) finally(f func()) {
	h.mu.Lock()
	if !h.ready {
		h.last = f
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	f()
}

// TakenOver ends the connection, and tells the client why.
func (h *holder) TakenOver(by net.Addr) {
	h.finally(func() {
		lv := h.c.now()
		if lv != nil && lv.json.Load() {
			h.c.peer.SendEncoded(append(appendString([]byte(`{"event":"taken_over","by":`), by.String()), "}\n"...))
		} else {
			h.c.peer.SendEncoded(fmt.Appendf(nil, "The session was taken over by %s.\n", printable(by.String())))
		}
		h.c.leave(nil)
	})
}

// Ended ends the connection of a session that somebody else has ended.
func (h *holder) Ended() {
	h.finally(func() {
		h.c.peer.SendEncoded(appendTextError(nil, &Error{Message: ErrSessionEnded.Error()}))
		h.c.leave(nil)
	})
}

// leave ends the connection.
func (c *conn) leave(err error) {
	c.leaving.Do(func() { close(c.gone) })
	c.peer.Close(err)
}

func (c *conn) now() *live {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lv
}

// HandleConnect gives the client a session, and tells its id.
func (c *conn) HandleConnect(p *protocol.Peer) protocol.Action {
	c.peer, c.remote, c.gone, c.began = p, p.Conn().RemoteAddr(), make(chan struct{}), time.Now()
	user, err := c.shell.opts.Authenticate(p.Context(), p.Conn())
	if err == nil {
		c.user.Store(&user)
		err = c.shell.enter(c)
	}
	if err != nil {
		return c.refuse(err)
	}
	h := &holder{c: c}
	lease, err := c.shell.sessions.Create(p.Context(), c.remote, h, State{Dir: "/"})
	if err != nil {
		return c.refuse(err)
	}
	if err := c.drive(lease); err != nil {
		return c.refuse(err)
	}
	h.begin(append(append([]byte(identification), lease.ID()...), '\n'))
	return protocol.Continue()
}

// refuse tells the client why it is turned away.
func (c *conn) refuse(err error) protocol.Action {
	c.peer.SendEncoded(appendTextError(nil, &Error{Message: err.Error()}))
	return protocol.Fail(err)
}

// drive has the session of the lease hear this connection.
func (c *conn) drive(lease *session.Lease[State]) error {
	var lv *live
	err := lease.Do(func(st *State) {
		if st.live == nil {
			st.live = newLive(c.shell, lease.Session(), st)
			c.shell.lives.Store(lease.Session(), st.live)
		}
		lv = st.live
	})
	if err != nil {
		return err
	}
	lv.attach(c, lease.Generation())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease, c.lv = lease, lv
	return nil
}

// HandleData takes a line.
func (c *conn) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if isTooLong(frame) {
		return c.tooLong()
	}
	f := filter(frame)
	if len(f.refusals) > 0 {
		p.SendEncoded(f.refusals)
	}
	if f.interrupt {
		c.lv.interrupt(c, ErrCancelled)
		return protocol.Continue()
	}
	if len(f.line) > c.shell.opts.MaxLine {
		return c.tooLong()
	}
	if request := trimBlanks(f.line); len(request) > 0 {
		c.request(request)
	}
	return protocol.Continue()
}

func (c *conn) tooLong() protocol.Action {
	return c.refuse(fmt.Errorf("%w: a line of more than %d bytes", protocol.ErrFrameTooLarge, c.shell.opts.MaxLine))
}

// request takes a request that is not empty and begins with no blank.
func (c *conn) request(b []byte) {
	c.n++
	if fault := wellFormed(b); fault != nil {
		c.answer(nil, fault)
		return
	}
	name := b[:nameEnd(b)]
	switch string(name) {
	case "reconnect":
		c.reconnect(strings.TrimSpace(split(string(b)).value))
	case "cancel":
		if c.lv.interrupt(c, ErrCancelled) {
			c.answer("cancelled", nil)
		} else {
			c.answer(nil, &Error{Message: "nothing is running"})
		}
	default:
		c.lv.submit(request{c, c.n, c.shell.registry.findBytes(name), string(b)})
	}
}

// answer answers what the connection itself has been asked.
func (c *conn) answer(v any, fault *Error) {
	lv := c.lv
	var b []byte
	switch {
	case lv.json.Load() && fault != nil:
		b = appendError(nil, c.n, fault)
	case lv.json.Load():
		b, _ = appendResult(nil, c.n, v)
	case fault != nil:
		b = appendTextError(nil, fault)
	default:
		b, _ = appendText(nil, v, 0)
	}
	lv.session.Output(b)
}

// reconnect drives an earlier session from now on, and ends the fresh one.
func (c *conn) reconnect(id string) {
	c.flushHeld()
	if !c.lv.idle(c, c.peer.Context().Done()) {
		return
	}
	switch user := c.user.Load(); {
	case c.resumed || id == c.lease.ID():
		c.answer(already, nil)
		return
	case user.Role < Viewer:
		c.answer(nil, Denied("reconnect needs a role of %s; yours is %s", Viewer, user.Role))
		return
	}
	h := &holder{c: c}
	lease, err := c.shell.sessions.Attach(c.peer.Context(), id, c.remote, h)
	if err != nil {
		c.answer(nil, &Error{Message: err.Error()})
		return
	}
	fresh, freshLive := c.lease, c.lv
	if c.drive(lease) != nil { // taken over already, by who gets this too; the rest of this connection is its end
		h.mu.Lock()
		early := h.early
		h.early, h.lost = nil, 0
		h.mu.Unlock()
		lease.Session().Output(early)
	}
	c.resumed = true
	freshLive.detach(c)
	fresh.End()
	h.begin(c.greeting(h.lost))
}

// greeting is what a client gets before the output that was kept for it.
func (c *conn) greeting(lost int) []byte {
	b := []byte(restored)
	switch {
	case lost > 0 && c.lv.json.Load():
		b = append(strconv.AppendInt(append(b, `{"event":"lost","bytes":`...), int64(lost), 10), "}\n"...)
	case lost > 0:
		b = fmt.Appendf(b, "(%d bytes of earlier output were lost)\n", lost)
	}
	return b
}

// flushHeld lets answers out that wait for those of the next requests.
func (c *conn) flushHeld() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.peer.Outbox().Wait(ctx)
}

// quit ends the session, and the connection with it.
func (c *conn) quit() {
	c.mu.Lock()
	lease := c.lease
	c.mu.Unlock()
	lease.End()
	c.leave(nil)
}

// HandleTimeout ends a connection on which nothing happens.
func (c *conn) HandleTimeout(*protocol.Peer) protocol.Action {
	c.lv.mu.Lock()
	busy := c.lv.busy
	c.lv.mu.Unlock()
	if busy {
		return protocol.Continue()
	}
	return c.refuse(fmt.Errorf("no request for %v: %w", c.shell.opts.ReadTimeout, os.ErrDeadlineExceeded))
}

// HandleShutdown cancels what the session does, so that the client gets its end.
func (c *conn) HandleShutdown(p *protocol.Peer) {
	if c.lv == nil {
		return
	}
	if c.lv.json.Load() {
		p.SendEncoded([]byte("{\"event\":\"shutdown\"}\n"))
	} else {
		p.SendEncoded([]byte("The server is stopping.\n"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	c.lv.stop(c, ctx.Done())
}

// stopTime is how long a command that is cancelled because the server stops may take to end.
const stopTime = 5 * time.Second

// HandleEnd serves what is left without the end of a line, and stays for the answers.
func (c *conn) HandleEnd(p *protocol.Peer, rest []byte) {
	if len(rest) > 0 {
		c.HandleData(p, rest)
	}
	if c.shell.opts.EndTime > 0 {
		ctx, cancel := context.WithTimeout(p.Context(), c.shell.opts.EndTime)
		defer cancel()
		c.lv.idle(c, ctx.Done())
	}
}

// HandleClose lets the session go, which stays.
func (c *conn) HandleClose(*protocol.Peer, error) {
	c.leaving.Do(func() { close(c.gone) })
	c.shell.leave(c)
	if c.lv == nil {
		return
	}
	c.lv.detach(c)
	c.lease.Detach()
}
