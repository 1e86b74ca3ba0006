package shell

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of a command. Most commands never look at theirs, so what
// [context.WithCancelCause] makes, and enters with its parent, is made when somebody does.
type callContext struct {
	parent context.Context

	mu    sync.Mutex
	cause error           // not nil: it is cancelled
	made  context.Context // nil: not yet
	end   context.CancelCauseFunc
}

func (c *callContext) cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	if c.cause = cause; c.end != nil {
		c.end(cause)
	}
}

// get makes what it is.
func (c *callContext) get() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		parent := c.parent
		if c.cause != nil {
			parent = context.WithoutCancel(parent) // whose end comes too late
		}
		c.made, c.end = context.WithCancelCause(parent)
		if c.cause != nil {
			c.end(c.cause)
		}
	}
	return c.made
}

func (c *callContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }
func (c *callContext) Done() <-chan struct{}       { return c.get().Done() }

// Value is also how [context.Cause] and contexts made of this one find what it is.
func (c *callContext) Value(key any) any { return c.get().Value(key) }

func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.made != nil:
		return c.made.Err()
	case c.cause != nil:
		return context.Canceled
	}
	return c.parent.Err()
}
