package conns

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/protocol"
	"goranch/transport"
)

// connection is a registered connection. Times are on the supervisor's clock.
type connection struct {
	// Set once.
	conn     transport.Conn
	sup      *Supervisor
	protocol protocol.Protocol
	ctx      connContext

	// Lifecycle.
	flags   flags
	waited  uint32 // microseconds from its start until the protocol was called
	started int64
	session runner       // of a protocol that lets its connections be parked or handed over; else nil
	err     error        // the result of its last step; used by the goroutine of the connection only
	stopAt  atomic.Int64 // when it was asked to stop; 0: never

	// Accounting.
	index     int32    // in its shard, under the shard's lock
	countedIn uint8    // tables that count its source address, a set of inOwn and inShared
	endedAs   Reason   // set at the end
	address   *address // its source address in one of them; nil: not counted

	// Idle time, kept by Monitor.
	read, written   uint64       // bytes at its last check
	readAt, wroteAt atomic.Int64 // time of the last check that saw a change, or of the end of the handshake
}

// runner is an [idle.Session] or an [engine.Handover].
type runner interface{ Run(mayPark bool) error }

// run is the life of a connection, in a goroutine of its own: admit, handshake, begin, serve, end.
// A connection that was parked continues with serve, in a new goroutine.
//
// run needs little stack, because the stack of an idle connection that is not parked keeps its
// largest size so far. So serve is not a function of its own.
func (c *connection) run() {
	defer c.end()
	c.err = errGoexit             // remains if a protocol, a transport or a hook ends the goroutine
	if c.flags.has(flagServing) { // woken, by a goroutine that has the profiler labels of another connection
		pprof.SetGoroutineLabels(&c.ctx)
	} else {
		err := c.admit()
		if err == nil {
			err = c.handshake()
		}
		if err == nil {
			err = c.enterLogin()
		}
		if err != nil {
			c.err = err
			c.closeRefused()
			return
		}
		c.begin()
	}
	if c.session != nil { // serve
		c.err = c.session.Run(c.mayPark())
	} else {
		c.err = c.protocol.Serve(&c.ctx, &c.conn)
	}
}

// begin marks the end of the handshake, and makes the session of a protocol that has one. A Drainer
// has to run when the listener stops, so its connections have no session and are not parked.
//
//go:noinline
func (c *connection) begin() {
	wait := c.age()
	c.waited = uint32(min(wait.Microseconds(), math.MaxUint32))
	c.sup.durationsOf(c).wait.observe(wait)
	if h, ok := c.protocol.(engine.HandoverProtocol); ok {
		c.session = h.HandOver(&c.ctx, c.protocol, &c.conn, c)
	} else if _, drains := c.protocol.(protocol.Drainer); !drains {
		c.session = sessionOf(c.protocol, &c.ctx, &c.conn)
	}
	c.flags.set(flagServing)
	if n := c.sup.settings.Load().Networks; n != nil && c.conn.Proxy() == nil && c.behindProxy() {
		c.closeIfBanned(n) // by a rule that was added during the handshake
	}
}

// sessionOf returns a session of p, or of the protocol that p wraps; nil if there is none.
func sessionOf(p protocol.Protocol, ctx context.Context, conn *transport.Conn) idle.Session {
	for {
		if b, ok := p.(interface {
			Begin(ctx context.Context, conn *transport.Conn) idle.Session
		}); ok {
			return b.Begin(ctx, conn)
		}
		u, ok := p.(interface{ Unwrap() protocol.Protocol })
		if !ok {
			return nil
		}
		p = u.Unwrap()
	}
}

// end ends the connection, or leaves it parked or handed over. It runs exactly once per run, also
// after a panic. The slot is released after the socket is closed, and before the end is reported.
func (c *connection) end() {
	v := recover()
	if v == nil && c.session != nil {
		switch c.err {
		case idle.ErrPark:
			c.park()
			return
		case idle.ErrNeedsGoroutine:
			c.Wake()
			return
		case engine.ErrHandedOver:
			if c.flags.set(flagHandedOver)&flagHandedBack != 0 {
				c.resume()
			}
			return
		}
	}
	if v != nil || c.err == errGoexit {
		c.err = asPanic(v)
	}
	defer c.returned()
	c.endedAs = c.reason()
	after := c.age()
	c.closeConn(after)
	c.report(after)
}

// returned reports that the connection has ended. It runs last: Drain waits for it.
func (c *connection) returned() { c.sup.shard(&c.conn).running.Done() }

// closeConn closes the connection gracefully. A panic of the transport's Close becomes the reason
// of the end: it must not end the process. If Close ends the goroutine, the end is reported here.
func (c *connection) closeConn(after time.Duration) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			c.endedAs, c.err = Panicked, asPanic(v)
		} else if !returned {
			c.report(after)
		}
	}()
	if c.ctx.Err() != nil {
		// Close drains unread data only after StopReading, which requestStop calls after it has
		// cancelled the context; the protocol may have returned in between.
		c.conn.StopReading(context.Cause(&c.ctx))
	}
	if n, ok := c.conn.NetConn().(engine.EndNotifier); ok {
		n.NotifyEnd(c.err, context.Cause(&c.ctx))
	}
	c.conn.Close()
	returned = true
}

// abort closes the socket. It runs in goroutines of the server, which must not end because the
// transport's Close panics.
func abort(conn *transport.Conn) {
	defer func() { _ = recover() }()
	conn.Abort()
}

// report counts and reports the end of a connection whose socket is closed. The observer is called
// at the greatest stack depth of most connections, so the functions from end to it use little
// stack: growing a stack costs as much as a system call.
func (c *connection) report(after time.Duration) {
	c.release(after)
	if ended := c.sup.cfg.Ended; ended != nil {
		ended(ConnEnd{
			Conn: &c.conn, Reason: c.endedAs, Err: c.err, Served: c.flags.has(flagServing),
			Duration: after, Handshake: c.handshakeTime(after),
		})
	}
}

//go:noinline
func (c *connection) release(after time.Duration) {
	c.ctx.end(protocol.ErrEnded)
	c.leaveLogin()
	c.sup.deregister(c, after)
	if c.countedIn != 0 {
		c.uncountAddress()
	}
	c.Uncount()
}

// park leaves the connection without a goroutine until Wake or Ready. Once it is parked it belongs
// to the goroutine that Wake starts, or that calls Ready.
func (c *connection) park() {
	if !c.flags.has(flagParked) {
		c.flags.set(flagParked)
	}
	if e := engine.Of(&c.conn); !e.Park(c, c.session.(idle.Session).Inline()) {
		if !e.CanPark() { // otherwise another event has arrived
			c.flags.set(flagAwake)
		}
		c.Wake()
	}
}

// mayPark reports whether the connection may be parked before it has been idle for ParkAfter.
func (c *connection) mayPark() bool {
	return !c.flags.clear(flagAwake) && c.sup.settings.Load().Limits.ParkAfter > 0
}

// Ready serves the connection in the goroutine of a lead, until there is no more data.
func (c *connection) Ready(l *idle.Lead) {
	defer c.end()
	if c.sup.settings.Load().Limits.ParkAfter <= 0 {
		c.err = idle.ErrNeedsGoroutine
		return
	}
	c.err = errGoexit
	if l.Labels != c.sup {
		l.Labels = c.sup
		pprof.SetGoroutineLabels(&c.ctx)
	}
	c.err = c.session.(idle.Session).Ready(l)
}

// Wake continues a connection that was parked.
func (c *connection) Wake() {
	c.flags.clear(flagParked)
	go c.run()
}

// HandBack ends the connection, which was handed over. It is called once. The end, which calls an
// observer, runs in another goroutine, because the caller may hold locks.
func (c *connection) HandBack() {
	if c.flags.set(flagHandedBack)&flagHandedOver != 0 { // else run is about to end
		go c.resume()
	}
}

// resume continues a connection that was handed back.
func (c *connection) resume() {
	defer c.end()
	c.err = errGoexit
	c.err = c.session.Run(false)
}

// CountLate counts bytes that a read or a write in another goroutine had transferred when c ended.
func (c *connection) CountLate(read, written uint64) {
	sh := c.sup.shard(&c.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.counts.BytesRead += read
	sh.counts.BytesWritten += written
}

var errGoexit = errors.New("goroutine ended by runtime.Goexit")

// asPanic returns the error for a recovered value; nil stands for runtime.Goexit.
//
//go:noinline
func asPanic(v any) *protocol.PanicError {
	if p, ok := v.(*protocol.PanicError); ok { // from another goroutine of the protocol
		return p
	}
	return &protocol.PanicError{Value: v, Stack: debug.Stack()}
}

func (c *connection) age() time.Duration { return time.Duration(c.sup.now() - c.started) }

// used records activity in both directions.
func (c *connection) used(at int64) {
	c.readAt.Store(at)
	c.wroteAt.Store(at)
}

// Uncount releases the slot, the first time it is called. Package ranch calls it for a connection
// that is no longer to be counted.
func (c *connection) Uncount() {
	if c.flags.clear(flagCounted) {
		c.sup.cfg.Gate.Release()
	}
}
