package netlisten

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// conn is a connection that waits or was accepted. It is released, which frees its slot, when it is
// closed. It has all methods of transport.Conn, so that net/http finds ReadFrom and uses sendfile.
type conn struct {
	*transport.Conn
	l     *Listener
	ctx   context.Context
	owner engine.HandoverOwner

	// Under l.mu.
	next, prev *conn // while it waits
	state      state
	expiring   bool            // it is refused unless it is accepted within acceptGrace
	stopped    <-chan struct{} // if it has called Stop: closed when Stop has returned, which its end waits for
	err        error           // why it was not accepted
}

// state is that of a conn.
type state uint8

const (
	created  state = iota
	queued         // waits for Accept
	accepted       // Accept has returned it
	released       // it was closed, or was not accepted
)

// waiting is the list of connections that wait.
type waiting struct{ first, last *conn }

func (w *waiting) add(c *conn) {
	c.state, c.prev = queued, w.last
	if w.last != nil {
		w.last.next = c
	} else {
		w.first = c
	}
	w.last = c
}

// remove removes c for Accept.
func (w *waiting) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		w.last = c.prev
	}
	c.state, c.next, c.prev = accepted, nil, nil
}

// handover has the methods for the ranch listener, which the accepted connection must not have.
type handover struct{ *conn }

// Run adds the connection to those that wait, or refuses it. Called again, it ends the connection.
func (h handover) Run(bool) error {
	c, l := h.conn, h.l
	l.mu.Lock()
	if c.state == created {
		l.live++
		if !l.closed {
			l.waiting.add(c)
			l.mu.Unlock()
			l.arrived.Signal()
			if c.ctx.Err() != nil { // perhaps before Stop could be called
				h.Stop()
			}
			return engine.ErrHandedOver
		}
		c.state, c.err = released, refused(c.ctx)
	}
	l.mu.Unlock()
	if c.err != nil {
		c.reject()
	}
	return c.err
}

// reject sends the rejection message, and waits for Stop of the options as release does.
func (c *conn) reject() {
	defer func() { // also if Refuse panics
		c.l.mu.Lock()
		c.l.connEnded()
		stopped := c.stopped
		c.l.mu.Unlock()
		if stopped != nil {
			<-stopped
		}
	}()
	c.l.reject(c.ctx, c.Conn, c.err)
}

// Stop is called when the context was cancelled. If the ranch listener stops, it calls Stop of the
// options, and a connection that waits may still be accepted for a short time. Otherwise the
// connection was killed.
func (h handover) Stop() {
	c, l := h.conn, h.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.state == released, c.state == created: // Run finds the context cancelled
	case !isShutdown(c.ctx):
		if c.state == queued {
			c.refuse()
		}
	default:
		if l.cancelStop == nil {
			if stopped := l.callStop(c.ctx); stopped != nil {
				c.stopped = stopped
				go c.awaitStop()
			}
		}
		if c.state == queued && !c.expiring {
			c.expiring = true
			time.AfterFunc(acceptGrace, c.expire)
		}
	}
}

// awaitStop keeps the slot of c until Stop of the options has returned: it must not outlive the
// ranch listener.
func (c *conn) awaitStop() {
	<-c.stopped
	c.l.mu.Lock()
	c.stopped = nil
	closed := c.state == released && c.err == nil
	c.l.mu.Unlock()
	if closed {
		c.owner.HandBack()
	}
}

// expire refuses c if Accept has not returned it.
func (c *conn) expire() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.state == queued {
		c.refuse()
	}
}

// refuse ends c, which waits. l.mu is held.
func (c *conn) refuse() {
	c.l.waiting.remove(c)
	c.state, c.err = released, refused(c.ctx)
	c.owner.HandBack()
}

// release is called when the connection was closed. Calling it again does nothing.
func (c *conn) release() {
	c.l.mu.Lock()
	if c.state == released {
		c.l.mu.Unlock()
		return
	}
	c.state = released
	c.l.connEnded()
	stopping := c.stopped != nil
	c.l.mu.Unlock()
	if !stopping {
		c.owner.HandBack()
	}
}

// TransportConn returns the connection for [transport.Of].
func (c *conn) TransportConn() *transport.Conn { return c.Conn }

// Close closes the connection. Calling it again does nothing.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// stateConn is a conn with TLS that cannot be passed on as a *tls.Conn. net/http treats a
// connection with the method ConnectionState as a TLS connection.
type stateConn struct{ *conn }

func (c stateConn) ConnectionState() tls.ConnectionState {
	state, _ := c.TLS()
	return state
}

// accepted returns c as Accept returns it. Nothing else uses c.Conn from then on.
func (c *conn) accepted() net.Conn {
	if _, secure := c.TLS(); !secure {
		return c
	}
	if inner := engine.Of(c.Conn).TLSConn(c.release); inner != nil {
		return inner
	}
	return stateConn{c}
}
