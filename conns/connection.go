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

	started int64         // times are on the supervisor's clock
	index   int           // in its shard, under the shard's lock
	source  *source       // nil: its address does not count
	fate    atomic.Uint32 // Killed, Aborted or why it was told to end, once it was closed for that; else 0
	told    atomic.Uint32 // why it was told to end, if not because of a shutdown; else 0
	counted atomic.Bool   // holds a slot of the gate
	serving atomic.Bool   // the handshake is over

	read, written   uint64       // bytes, as Watch has last seen them, touched by it only
	readAt, wroteAt atomic.Int64 // when Watch has seen something carried, or the protocol began
	toldAt          atomic.Int64 // 0: never

	begun protocol.Serving // by a protocol that lets its connections rest; else nil
	err   error            // how it went; touched by its goroutine only
}

// run is the first half of a connection's life, up to the protocol.
func (c *connection) run() {
	if c.begin() {
		c.serve()
	}
}

// begin is the way up to the protocol; false is that it ends there, or goes on in another
// goroutine. What it needs of the stack is given back before the protocol is called.
func (c *connection) begin() bool {
	if c.sup.cfg.Started != nil {
		c.sup.cfg.Started(&c.conn)
	}
	if c.err = c.enter(true); c.err != nil {
		c.end(nil)
		return false
	}
	if !transport.Plain(c.conn.Transport()) {
		c.handshake()
		return false
	}
	if c.prepare(); c.err != nil {
		c.end(nil)
		return false
	}
	return true
}

// enter counts c for its source address. direct is before the handshake, when the address
// is that of the socket, which may be a proxy's.
func (c *connection) enter(direct bool) error {
	lim := c.sup.limits.Load()
	if lim.PerAddress <= 0 && lim.AddressRate.PerSecond <= 0 {
		return nil
	}
	addr := c.conn.RemoteAddr()
	if direct && transport.BehindProxy(c.conn.Transport(), addr) {
		return nil
	}
	a := sourceOf(addr)
	if !a.IsValid() {
		return nil
	}
	var err error
	c.source, err = c.sup.sources.enter(a, lim, c.sup.now())
	return err
}

// prepare is the handshake of a transport that waits for nobody.
func (c *connection) prepare() {
	done := false
	defer func() {
		if done {
			return
		}
		v := recover()
		if c.err = caught(v); v == nil { // runtime.Goexit: nothing comes after this
			c.end(nil)
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
			c.end(nil)
			return
		}
		c.used(c.sup.now()) // the handshake was no idleness
		go c.serve()
	}()
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if d := c.sup.limits.Load().HandshakeTimeout; d > 0 {
		ctx, cancel = context.WithTimeout(c.ctx, d)
	}
	defer cancel()
	enforce := context.AfterFunc(ctx, func() { c.expire(ctx) })
	if c.err = c.sup.handshakes.Reserve(ctx); c.err == nil {
		func() {
			defer c.sup.handshakes.Cancel()
			c.err = c.conn.Handshake(ctx)
		}()
	}
	if !enforce() && (c.err != nil || expired(ctx)) {
		c.err = errors.Join(context.Cause(ctx), c.err)
	}
	h := c.conn.Proxy()
	if c.err == nil && c.source == nil && (h == nil || h.Source != nil) { // else the proxy speaks for itself
		c.err = c.enter(false)
	}
	if h != nil {
		c.sup.retrace(c)
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

// serve is the second half: the protocol, and the end, or a rest, after which it is called again.
func (c *connection) serve() {
	defer c.leave()
	c.err = errGoexit // stays if the protocol does not return
	if !c.serving.Load() {
		c.introduce()
	}
	if c.begun != nil {
		c.err = c.begun.Run()
	} else {
		c.err = c.protocol.Serve(c.ctx, &c.conn)
	}
}

// leave is the end of serve. Once c is parked it belongs to who wakes it.
func (c *connection) leave() {
	v := recover()
	if v != nil || c.begun == nil || c.err != transport.ErrResting {
		c.end(v)
	} else if !c.conn.Park(c) {
		c.Wake()
	}
}

// introduce gives the connection to a protocol that lets its connections rest.
//
//go:noinline
func (c *connection) introduce() {
	_, drains := c.protocol.(protocol.Drainer) // it has to have its say when the server stops
	if s, ok := c.protocol.(protocol.Sleeper); ok && !drains {
		c.begun = s.Begin(c.ctx, &c.conn)
	}
	c.serving.Store(true)
}

// Wake goes on with a connection that was parked.
func (c *connection) Wake() { go c.serve() }

var errGoexit = errors.New("the protocol has ended its goroutine")

func caught(v any) error {
	if p, ok := v.(*protocol.Panicked); ok { // in another goroutine, or told to go on
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return &PanicError{Value: v, Stack: debug.Stack()}
}

func (c *connection) age() time.Duration { return time.Duration(c.sup.now() - c.started) }

// used notes that something was carried in both directions.
func (c *connection) used(at int64) {
	c.readAt.Store(at)
	c.wroteAt.Store(at)
}

// end is called exactly once for each connection that was registered. The slot is given
// back when the socket is closed, and before anybody is told. panicked is what the protocol
// has panicked with, nil if it has not.
func (c *connection) end(panicked any) {
	if panicked != nil || c.err == errGoexit {
		c.err = caught(panicked)
	}
	s := c.sup
	sh := s.shard(&c.conn)
	defer sh.running.Done()
	end := End{Conn: &c.conn, Reason: c.reason(), Err: c.err, Served: c.serving.Load(), Duration: c.age()}
	if c.ctx.Err() != nil {
		c.conn.StopReading(context.Cause(c.ctx)) // if the protocol was quicker than tell: Close must know
	}
	c.conn.Close()
	c.cancel(ErrEnded)
	s.deregister(c, end)
	if c.source != nil {
		s.sources.leave(c.source, s.now())
	}
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
	case r.refused() && c.serving.Load(): // it was let in: these are of somebody it had to do with
		return Failed
	case r == Panicked, r.refused():
		return r
	case fate != 0:
		return fate
	case !c.serving.Load():
		if r.cause() != nil {
			return r
		}
		if r == TimedOut || errors.Is(c.err, os.ErrDeadlineExceeded) {
			return HandshakeTimeout
		}
		return HandshakeFailed
	case c.ctx.Err() != nil && (r == Finished || errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.Cause(c.ctx))):
		if told := c.told.Load(); told != 0 {
			return Reason(told)
		}
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
// its writes go on. A protocol that drains by itself still has something to read when the
// listener stops.
func (c *connection) tell(cause error) {
	c.cancel(cause)
	if _, drains := c.protocol.(protocol.Drainer); !drains || cause != ErrShutdown {
		c.conn.StopReading(cause)
	}
}
