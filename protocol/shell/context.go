package shell

import (
	"context"
	"sync"
	"time"
)

// lazyContext is the context of a command. Most commands never use theirs, so the context of
// [context.WithCancelCause], which registers with its parent, is made on first use.
type lazyContext struct {
	parent context.Context

	mu     sync.Mutex
	cause  error           // not nil: cancelled
	ctx    context.Context // nil: not made yet
	cancel context.CancelCauseFunc
}

func (c *lazyContext) cancelCause(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if c.cause = cause; c.cancel != nil {
		c.cancel(cause)
	}
}

// get returns the real context, and makes it on first use.
func (c *lazyContext) get() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		parent := c.parent
		if c.cause != nil {
			parent = context.WithoutCancel(parent) // a later end of the parent must not change the cause
		}
		c.ctx, c.cancel = context.WithCancelCause(parent)
		if c.cause != nil {
			c.cancel(c.cause)
		}
	}
	return c.ctx
}

func (c *lazyContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }
func (c *lazyContext) Done() <-chan struct{}       { return c.get().Done() }

// Value must use the real context: context.Cause and derived contexts find it by a private key.
func (c *lazyContext) Value(key any) any { return c.get().Value(key) }

func (c *lazyContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx != nil:
		return c.ctx.Err()
	case c.cause != nil:
		return context.Canceled
	}
	return c.parent.Err()
}
