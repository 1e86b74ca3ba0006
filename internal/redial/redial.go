// Package redial keeps a client's connection: when it has ended it makes another, after a rest that grows with
// each failure.
package redial

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Conn is one connection with its goroutines, and ends once. Clients embed it in their kind of connection.
type Conn struct {
	Net  net.Conn
	Gone chan struct{} // closed when it has ended

	tasks sync.WaitGroup
	stop  func() bool // no longer ends with the client
	mu    sync.Mutex
	err   error // why it has ended; set before Gone is closed
}

// Start begins the tasks, which have to return when the connection has ended. It ends with ctx, and its cause.
func (c *Conn) Start(ctx context.Context, nc net.Conn, tasks ...func()) {
	c.Net, c.Gone = nc, make(chan struct{})
	c.stop = context.AfterFunc(ctx, func() { c.Fail(context.Cause(ctx)) })
	for _, t := range tasks {
		c.tasks.Go(t)
	}
}

// Fail ends the connection; the first error counts.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.Gone)
		c.Net.Close()
	}
}

// Err returns why the connection has ended; nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Wait returns when the connection has ended, and its goroutines.
func (c *Conn) Wait() {
	c.tasks.Wait()
	c.stop()
}

// Link is a client's kind of connection, which embeds a [Conn].
type Link interface {
	comparable
	Fail(error)
	Err() error
	Why() error // Err as the client is told
	Wait()
}

// Hooks are what a client does its own way.
type Hooks[L Link] struct {
	Connect func(context.Context) (L, error) // by Open, and calls Set before it returns
	Lost    func(L, error)                   // a connection has ended, or there is none since Connect has failed
	Ended   func()                           // the client has; nil is nothing
	GaveUp  error                            // wrapped when MaxAttempts have failed
}

// Keeper keeps a client connected. Its methods may be called from any goroutine, Set by Connect only.
type Keeper[L Link] struct {
	Ctx  context.Context         // ends when the client does
	Stop context.CancelCauseFunc // ends the client

	opts  Options
	hooks Hooks[L]
	done  chan struct{} // run has returned

	mu      sync.Mutex
	link    L             // zero: not connected
	changed chan struct{} // closed when link is no longer what it was
}

// New returns a Keeper, to be started. Of ctx only the values go on.
func New[L Link](ctx context.Context, o Options, h Hooks[L]) *Keeper[L] {
	k := &Keeper[L]{opts: o.withDefaults(), hooks: h, done: make(chan struct{}), changed: make(chan struct{})}
	k.Ctx, k.Stop = context.WithCancelCause(context.WithoutCancel(ctx))
	return k
}

// Start connects, within ctx, and keeps connected from then on. If it fails the client has ended.
func (k *Keeper[L]) Start(ctx context.Context) error {
	l, err := k.hooks.Connect(ctx)
	if err != nil {
		k.Stop(err)
		return err
	}
	go k.run(l)
	return nil
}

// Close ends the client, and returns when its goroutines have. The error is always nil.
func (k *Keeper[L]) Close(why error) error {
	k.Stop(why)
	<-k.done
	return nil
}

// Link returns the connection, which may have ended, and zero for none.
func (k *Keeper[L]) Link() L {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.link
}

// Set notes the connection, zero for none.
func (k *Keeper[L]) Set(l L) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.link = l
	close(k.changed)
	k.changed = make(chan struct{})
}

// Await returns the connection, as soon as there is one.
func (k *Keeper[L]) Await(ctx context.Context) (none L, err error) {
	for {
		k.mu.Lock()
		l, changed := k.link, k.changed
		k.mu.Unlock()
		switch {
		case k.Ctx.Err() != nil:
			return none, context.Cause(k.Ctx)
		case l != none && l.Err() == nil:
			return l, nil
		}
		select {
		case <-changed:
		case <-k.Ctx.Done():
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
}

// Open connects, makes a link of that and has it greeted, each within the DialTimeout.
func (k *Keeper[L]) Open(ctx context.Context, link func(net.Conn) L, greet func(context.Context, L) error) (none L, err error) {
	dial, cancel := context.WithTimeout(ctx, k.opts.DialTimeout)
	defer cancel()
	nc, err := k.opts.Transport.Dial(dial, k.opts.Addr)
	if err != nil {
		return none, fmt.Errorf("connect to %s: %w", k.opts.Addr, err)
	}
	hello, cancel := context.WithTimeout(ctx, k.opts.DialTimeout)
	defer cancel()
	l := link(nc)
	if err := greet(hello, l); err != nil {
		l.Fail(err)
		l.Wait()
		return none, fmt.Errorf("connect to %s: %w", k.opts.Addr, err)
	}
	return l, nil
}

// run keeps the client connected.
func (k *Keeper[L]) run(l L) {
	defer close(k.done)
	if k.hooks.Ended != nil {
		defer k.hooks.Ended()
	}
	var none L
	failures := 0
	for began := time.Now(); ; began = time.Now() {
		if l != none {
			l.Wait()
			k.Set(none)
			if time.Since(began) > k.opts.MaxBackoff {
				failures = 0
			}
			k.hooks.Lost(l, l.Why())
		}
		select {
		case <-time.After(k.opts.backoff(failures)):
		case <-k.Ctx.Done():
		}
		if k.Ctx.Err() != nil {
			return
		}
		var err error
		if l, err = k.hooks.Connect(k.Ctx); err != nil {
			k.hooks.Lost(none, err)
		}
		failures++
		if l == none && k.opts.MaxAttempts > 0 && failures >= k.opts.MaxAttempts {
			k.Stop(fmt.Errorf("%w after %d attempts: %w", k.hooks.GaveUp, failures, err))
			return
		}
	}
}
