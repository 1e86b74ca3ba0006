package conns

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// connection is one that lives: registered, in its own goroutine.
type connection struct {
	conn     transport.Conn
	sup      *Supervisor
	protocol protocol.Protocol
	ctx      context.Context
	cancel   context.CancelCauseFunc
	started  time.Time

	prev, next *connection // in its shard, under the shard's lock

	counted atomic.Bool   // holds a slot of the gate
	serving atomic.Bool   // the handshake is over
	fate    atomic.Uint32 // Killed or Aborted, once somebody has decided so; else 0

	err error // how it went; touched by its goroutine only
}

// run is the first half of a connection's life, up to the protocol.
func (c *connection) run() {
	s := c.sup
	if s.cfg.Started != nil {
		s.cfg.Started(&c.conn)
	}
	if !transport.Plain(c.conn.Transport()) {
		c.handshake()
		return
	}
	defer c.end()
	if c.prepare(); c.err == nil {
		c.serving.Store(true)
		c.call()
	}
}

// prepare is the handshake of a transport that waits for nobody.
func (c *connection) prepare() {
	done := false
	defer func() {
		if !done {
			c.err = caught(recover())
		}
	}()
	c.err = c.conn.Handshake(c.ctx)
	done = true
}

// handshake may need a deep stack, TLS does. The protocol starts on a fresh one, so that
// an idle connection does not keep it.
func (c *connection) handshake() {
	done := false
	defer func() {
		if !done {
			c.err = caught(recover())
		}
		if c.err != nil {
			c.end()
			return
		}
		go c.serve()
	}()
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if d := time.Duration(c.sup.handshake.Load()); d > 0 {
		ctx, cancel = context.WithTimeout(c.ctx, d)
	}
	defer cancel()
	enforce := context.AfterFunc(ctx, func() { c.expire(ctx) })
	c.err = c.conn.Handshake(ctx)
	if !enforce() && (c.err != nil || expired(ctx)) {
		c.err = errors.Join(context.Cause(ctx), c.err)
	}
	done = true
}

// expire closes a connection whose handshake took too long, for transports that do not
// look at their context.
func (c *connection) expire(ctx context.Context) {
	if expired(ctx) {
		c.conn.Abort()
	}
}

func expired(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// serve is the second half: the protocol, and the end.
func (c *connection) serve() {
	defer c.end()
	c.serving.Store(true)
	c.call()
}

// call runs the protocol and keeps its panic from going further.
func (c *connection) call() {
	returned := false
	defer func() {
		if !returned {
			c.err = caught(recover())
		}
	}()
	c.err = c.protocol.Serve(c.ctx, &c.conn)
	returned = true
}

func caught(v any) error { return &PanicError{Value: v, Stack: debug.Stack()} }

// end is called exactly once for each connection that was registered. The slot is given
// back when the socket is closed, and before anybody is told.
func (c *connection) end() {
	s := c.sup
	sh := s.shard(&c.conn)
	defer sh.running.Done()
	end := End{Conn: &c.conn, Reason: c.reason(), Err: c.err, Served: c.serving.Load(), Duration: time.Since(c.started)}
	if c.ctx.Err() != nil {
		c.conn.StopReading(ErrShutdown) // if the protocol was quicker than tell: Close must know
	}
	c.conn.Close()
	c.cancel(ErrEnded)
	s.deregister(c, end)
	c.uncount()
	if s.cfg.Ended != nil {
		s.cfg.Ended(end)
	}
}

// uncount gives the slot back, the first time it is called.
func (c *connection) uncount() {
	if c.counted.CompareAndSwap(true, false) {
		c.sup.cfg.Gate.Release()
	}
}

func (c *connection) reason() Reason {
	r := ReasonOf(c.err)
	switch fate := Reason(c.fate.Load()); {
	case r == Panicked:
		return r
	case fate != 0:
		return fate
	case !c.serving.Load():
		if r == Shutdown {
			return r
		}
		if r == TimedOut || errors.Is(c.err, os.ErrDeadlineExceeded) {
			return HandshakeTimeout
		}
		return HandshakeFailed
	case c.ctx.Err() != nil && (r == Finished || errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.Cause(c.ctx))):
		return Shutdown
	}
	return r
}

// abort closes the connection for good.
func (c *connection) abort(fate Reason, cause error) {
	c.fate.CompareAndSwap(0, uint32(fate))
	c.cancel(cause)
	c.conn.Abort()
}

// tell asks the connection to end: its context is cancelled and its reads fail, while
// its writes go on. A protocol that drains by itself still has something to read.
func (c *connection) tell() {
	c.cancel(ErrShutdown)
	if _, ok := c.protocol.(protocol.Drainer); !ok {
		c.conn.StopReading(ErrShutdown)
	}
}
