package conns

import (
	"context"
	"sync/atomic"
	"time"

	"goranch/protocol"
)

// connContext is the context of a connection. It contains a context of package context only after
// something has waited for its end, or it was cancelled before the connection ended. Most
// connections need neither, and without it an idle connection takes about 100 bytes less.
type connContext struct {
	base   context.Context            // the parent, which has the values
	cancel atomic.Pointer[cancelling] // nil: not needed so far
}

// cancelling is a context of package context, on which context.Cause and derived contexts rely.
type cancelling struct {
	context.Context
	end context.CancelCauseFunc
}

// afterEnd is the cancelling part of all connections that have ended without one of their own.
var afterEnd = func() *cancelling {
	ctx, end := context.WithCancelCause(context.Background())
	end(protocol.ErrEnded)
	return &cancelling{ctx, end}
}()

// init makes base the parent.
func (c *connContext) init(base context.Context) {
	c.base = base
	if base.Done() != nil { // Err must report the end of the parent
		c.need()
	}
}

// need returns the cancelling part.
func (c *connContext) need() *cancelling {
	if own := c.cancel.Load(); own != nil {
		return own
	}
	own := new(cancelling)
	own.Context, own.end = context.WithCancelCause(c.base)
	if !c.cancel.CompareAndSwap(nil, own) {
		own.end(nil)
		own = c.cancel.Load()
	}
	return own
}

// end cancels the context. Only the first cause counts.
func (c *connContext) end(cause error) {
	if cause == protocol.ErrEnded && c.cancel.CompareAndSwap(nil, afterEnd) {
		return
	}
	c.need().end(cause)
}

func (c *connContext) Deadline() (time.Time, bool) { return c.base.Deadline() }

func (c *connContext) Done() <-chan struct{} { return c.need().Done() }

func (c *connContext) Err() error {
	if own := c.cancel.Load(); own != nil {
		return own.Err()
	}
	return nil
}

func (c *connContext) Value(key any) any {
	if own := c.cancel.Load(); own != nil {
		if v := own.Value(key); v != nil || own != afterEnd {
			return v
		}
	}
	return c.base.Value(key)
}

// String is called by contexts that derive from this one, for their own String.
func (c *connContext) String() string { return "context of a connection" }
