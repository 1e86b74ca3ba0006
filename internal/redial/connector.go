// Package redial keeps a client connected: it dials, and when the connection has ended it dials
// again after an exponential backoff. The clients of packages packet, pubsub and shell use it.
//
// A client embeds [Conn] in its own connection type, the link, and holds a [Connector] for it.
// Its Connect hook opens a link by [Connector.Open], which includes the handshake of its
// protocol. A request gets the link from [Connector.Await] and waits for its answer or for the
// link's Done.
package redial

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Link is a client's connection type. A pointer to a struct that embeds [Conn] is one.
type Link interface {
	comparable
	Fail(error)
	Err() error
	Wait()
}

// Hooks are the parts that differ between clients. The hooks are called one at a time, by Start
// and then by the Connector's goroutine. They must not call Start or Close.
type Hooks[L Link] struct {
	// Connect opens a link, usually by [Connector.Open]. The link is published when Connect
	// returns, unless Connect has called [Connector.Set].
	Connect func(ctx context.Context) (L, error)
	// Disconnected is called when a link has ended and its goroutines have returned, with the link
	// and its Err; and after a reconnect has failed, with the zero link and the error of Connect.
	// nil is ignored.
	Disconnected func(link L, err error)
	// Ended is called once, when the client has ended; not if Start has failed. nil is ignored.
	Ended func()
	// ErrGaveUp is wrapped by the error with which the client ends after MaxAttempts failures.
	ErrGaveUp error
}

// Connector keeps a client connected. All methods may be called from any goroutine.
type Connector[L Link] struct {
	ctx    context.Context // canceled when the client ends, with the reason as its cause
	cancel context.CancelCauseFunc
	opts   Options
	hooks  Hooks[L]
	done   chan struct{} // closed when run has returned, or Start has failed

	mu      sync.Mutex
	link    L             // zero: not connected
	changed chan struct{} // closed and replaced when link is set
}

// New returns a Connector with valid options that has to be started. The client's context has the
// values of ctx, but is not canceled with it.
func New[L Link](ctx context.Context, o Options, h Hooks[L]) *Connector[L] {
	c := &Connector[L]{opts: o.withDefaults(), hooks: h, done: make(chan struct{}), changed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return c
}

// Start connects for the first time, within ctx, and then starts the goroutine that reconnects.
// On error the client has ended; the first connect is not repeated.
func (c *Connector[L]) Start(ctx context.Context) error {
	l, err := c.connect(ctx)
	if err != nil {
		c.cancel(err)
		close(c.done)
		return err
	}
	go c.run(l)
	return nil
}

// Stop ends the client with err and does not wait. Only the first call has an effect. A hook
// calls it when reconnecting is useless, for example because the server refuses the client.
func (c *Connector[L]) Stop(err error) { c.cancel(err) }

// Close ends the client with err and waits until its goroutines have returned. It always returns
// nil.
func (c *Connector[L]) Close(err error) error {
	c.cancel(err)
	<-c.done
	return nil
}

// Context returns the client's context, which is canceled when the client ends, with the reason as
// its cause. Links are started with it.
func (c *Connector[L]) Context() context.Context { return c.ctx }

// Done returns a channel that is closed when the client ends.
func (c *Connector[L]) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns the error with which the client ended; nil before.
func (c *Connector[L]) Err() error { return context.Cause(c.ctx) }

// Link returns the current link, which may have ended already; zero if there is none.
func (c *Connector[L]) Link() L {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Set publishes l as the current link. A Connect hook calls it to publish the link before it
// returns, for example while it holds a lock of the client.
func (c *Connector[L]) Set(l L) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		c.link = l
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// Await returns the current link, and waits for one while there is none. The error is the cause of
// ctx, or that with which the client ended.
func (c *Connector[L]) Await(ctx context.Context) (none L, err error) {
	for {
		c.mu.Lock()
		l, changed := c.link, c.changed
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return none, c.Err()
		case l != none && l.Err() == nil:
			return l, nil
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
}

// Open dials, makes a link of the connection and performs the handshake of the client's protocol.
// Dialing and the handshake each have to finish within DialTimeout. If the handshake fails, the
// link is failed with that error and waited for.
func (c *Connector[L]) Open(ctx context.Context, newLink func(net.Conn) L,
	handshake func(context.Context, L) error) (none L, err error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return none, fmt.Errorf("connect to %s: %w", c.opts.Addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	l := newLink(nc)
	if err := handshake(ctx, l); err != nil {
		l.Fail(err)
		l.Wait()
		return none, fmt.Errorf("connect to %s: %w", c.opts.Addr, err)
	}
	return l, nil
}

func (c *Connector[L]) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	return c.opts.Transport.Dial(ctx, c.opts.Addr)
}

// connect opens and publishes a link.
func (c *Connector[L]) connect(ctx context.Context) (none L, err error) {
	l, err := c.hooks.Connect(ctx)
	if err != nil {
		c.Set(none) // Connect may have published the link before it failed
		return none, err
	}
	c.Set(l)
	return l, nil
}

func (c *Connector[L]) disconnected(l L, err error) {
	if c.hooks.Disconnected != nil {
		c.hooks.Disconnected(l, err)
	}
}

// run reconnects until the client ends. The link l is open.
func (c *Connector[L]) run(l L) {
	defer close(c.done)
	if c.hooks.Ended != nil {
		defer c.hooks.Ended()
	}
	var none L
	var err error
	failures := 0
	for began := time.Now(); ; began = time.Now() {
		if l != none {
			l.Wait()
			c.Set(none)
			if time.Since(began) > c.opts.MaxBackoff {
				failures = 0
			}
			c.disconnected(l, l.Err())
		}
		select {
		case <-time.After(c.opts.backoff(failures)):
		case <-c.ctx.Done():
		}
		if c.ctx.Err() != nil {
			return
		}
		failures++
		if l, err = c.connect(c.ctx); err == nil {
			continue
		}
		c.disconnected(none, err)
		if n := c.opts.MaxAttempts; n > 0 && failures >= n {
			c.Stop(fmt.Errorf("%w after %d attempts: %w", c.hooks.ErrGaveUp, failures, err))
			return
		}
	}
}
