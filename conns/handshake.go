package conns

import (
	"context"
	"errors"
	"time"

	"goranch/internal/engine"
)

// handshake calls the admission hook and prepares the connection as its transport asks. Both may
// need a deep stack, so they run in a goroutine of their own, whose stack is freed before the
// protocol is called. The handshake of a plain transport returns at once and needs neither a
// goroutine nor a time limit.
func (c *connection) handshake() error {
	if c.plainHandshake() {
		return c.conn.Handshake(&c.ctx)
	}
	done := make(chan error, 1)
	go c.runHandshake(done)
	err := <-done
	c.used(c.sup.now()) // the handshake was not idle time
	return err
}

func (c *connection) runHandshake(done chan<- error) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil || err == errGoexit {
			err = asPanic(v) // in this goroutine, whose stack it records
		}
		done <- err
	}()
	err = c.limitedHandshake()
}

// limitedHandshake runs the handshake within the HandshakeTimeout.
func (c *connection) limitedHandshake() error {
	ctx, cancel := context.Context(&c.ctx), context.CancelFunc(func() {})
	if d := c.sup.settings.Load().HandshakeTimeout; d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	defer cancel()
	expired := func() bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }
	unwatch := context.AfterFunc(ctx, func() {
		if expired() { // for hooks, and transports that ignore their context
			abort(&c.conn)
		}
	})
	err := c.admitAndHandshake(ctx)
	aborted := !unwatch() && expired()
	if aborted || err != nil && ctx.Err() != nil { // unwatch may succeed while ctx is being cancelled
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

// admitAndHandshake calls the admission hook, unless the client is not known before the handshake,
// and then runs the handshake within MaxHandshakes.
func (c *connection) admitAndHandshake(ctx context.Context) error {
	if !c.behindProxy() {
		if err := c.callAdmit(); err != nil {
			return err
		}
	}
	if engine.Plain(c.conn.Transport()) {
		return c.conn.Handshake(ctx)
	}
	if err := c.sup.handshakes.Reserve(ctx); err != nil {
		return err
	}
	return c.timedHandshake(ctx)
}

// admitInHandshake runs the handshake. Behind a proxy it admits the client when the PROXY header
// was read, before the handshake of TLS.
func (c *connection) admitInHandshake(ctx context.Context) error {
	behind, admitted := c.behindProxy(), false
	admit := func() error {
		admitted = true
		return c.admitClient()
	}
	if behind {
		ctx = engine.WithAdmission(ctx, admit)
	}
	err := c.conn.Handshake(ctx)
	if err == nil && !admitted && (behind || c.conn.Proxy() != nil && c.countedIn == 0) { // the transport is of another module and does not call engine.Admit
		err = admit()
	}
	return err
}

// timedHandshake runs the handshake with a slot of MaxHandshakes, which it releases.
func (c *connection) timedHandshake(ctx context.Context) error {
	defer c.sup.handshakes.Cancel()
	began := c.sup.now()
	err := c.admitInHandshake(ctx)
	if err == nil {
		c.sup.durationsOf(c).handshake.observe(time.Duration(c.sup.now() - began))
	}
	return err
}

// handshakeTime returns ConnEnd.Handshake.
func (c *connection) handshakeTime(after time.Duration) time.Duration {
	switch {
	case engine.Plain(c.conn.Transport()):
		return 0
	case c.flags.has(flagServing):
		return time.Duration(c.waited) * time.Microsecond
	}
	return after
}
