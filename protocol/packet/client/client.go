// Package client is a client of package packet's servers, or of any that speaks JSON-RPC 2.0 in
// frames with a length of four bytes: it calls methods, gets notifications, and connects again
// when the connection has ended.
//
//	c, err := client.Dial(ctx, client.Options{Addr: "127.0.0.1:8082"})
//	…
//	defer c.Close()
//	var sum int
//	err = c.Call(ctx, "add", []int{1, 2}, &sum)
//
// A Client has one goroutine, and while it is connected two more, one that reads and one that
// writes; Close waits for all of them. All methods may be called from any goroutine.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

var (
	// ErrDisconnected is wrapped by the error of a call that was under way when the connection
	// ended: nobody knows whether it was served. It wraps why, an [*packet.Error] if the server said so.
	ErrDisconnected = errors.New("the connection has ended")
	// ErrClosed is returned by the methods of a closed client.
	ErrClosed = errors.New("the client is closed")
	// ErrGaveUp is wrapped by the errors of a client that could not connect in MaxAttempts.
	ErrGaveUp = errors.New("gave up connecting")
)

// Caller is what calls methods: a Client, or one connection of it.
type Caller interface {
	// Call calls a method and waits for its answer, which is decoded to result unless that is nil.
	// nil params are left out. The error is an [*packet.Error] if the server has answered with
	// one, the cause of ctx, [ErrDisconnected], or that of encoding/json.
	Call(ctx context.Context, method string, params, result any) error
	// Notify calls a method without an answer. It returns when the message is on its way.
	Notify(ctx context.Context, method string, params any) error
}

// Options are the settings of a [Client]. The zero value of each field is its default.
type Options struct {
	// Transport connects. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is where to; the forms are those of the transport.
	Addr string
	// OnNotification is called with what the server sends unasked, in order, in the goroutine that
	// reads: it must not wait for a Call.
	OnNotification func(method string, params json.RawMessage)
	// OnConnect is called after each connect, also the first, before others can call: the place
	// to log in and to subscribe. On error the connection is closed and another is tried. ctx ends
	// after DialTimeout.
	OnConnect func(ctx context.Context, c Caller) error
	// OnDisconnect is called when a connection has ended, or none could be made, and with why.
	OnDisconnect func(err error)
	// MinBackoff is the rest before connecting again, doubled after each failure up to MaxBackoff;
	// up to half of it, at random, is left out. It begins anew after a connection that has
	// lived longer than MaxBackoff. 0 are 100 ms and 10 s; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is after how many failures in a row the client gives up. 0 is never; negative values
	// are refused.
	MaxAttempts int
	// DialTimeout is the time to connect, with the handshake, and the time for OnConnect. 0 is 5 s;
	// negative values are refused.
	DialTimeout time.Duration
	// Heartbeat is the time after which a notification ("ping", which servers ignore that do not know
	// it) shows a server with a read timeout that the client is there. 0 is 1 min; negative is never.
	Heartbeat time.Duration
	// MaxFrame is the longest frame in bytes. 0 is 256 KiB; negative is 2 GiB.
	MaxFrame int
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option %s %v: allowed %s", field, value, allowed))
	}
	if o.MinBackoff < 0 || o.MaxBackoff < 0 || o.MaxBackoff > 0 && o.MinBackoff > o.MaxBackoff {
		bad("MinBackoff and MaxBackoff", fmt.Sprintf("%v and %v", o.MinBackoff, o.MaxBackoff), "are positive times, the first not above the second, and 0 for 100ms and 10s")
	}
	if o.MaxAttempts < 0 {
		bad("MaxAttempts", o.MaxAttempts, "are positive numbers, and 0 for no limit")
	}
	if o.DialTimeout < 0 {
		bad("DialTimeout", o.DialTimeout, "are positive times, and 0 for 5s")
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = transport.TCP{}
	}
	def(&o.MaxBackoff, max(10*time.Second, o.MinBackoff))
	def(&o.MinBackoff, min(100*time.Millisecond, o.MaxBackoff))
	def(&o.DialTimeout, 5*time.Second)
	def(&o.Heartbeat, time.Minute)
	return o
}

func def(field *time.Duration, value time.Duration) {
	if *field == 0 {
		*field = value
	}
}

// Client calls methods of a server.
type Client struct {
	opts  Options
	codec protocol.LengthPrefix
	stop  context.CancelCauseFunc
	ctx   context.Context // ends when the client does
	done  chan struct{}   // run has returned

	mu      sync.Mutex
	link    *link         // nil: not connected
	changed chan struct{} // closed when link is no longer what it was
}

var _ Caller = (*Client)(nil)

// Dial connects, within ctx, and returns an error if that fails, OnConnect included. From then on
// the client connects again by itself, until it is closed or gives up.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	c := &Client{opts: opts.withDefaults(), codec: protocol.LengthPrefix{Max: opts.MaxFrame}, done: make(chan struct{}), changed: make(chan struct{})}
	c.ctx, c.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	l, err := c.connect(ctx)
	if err != nil {
		c.stop(err)
		return nil, err
	}
	c.set(l)
	go c.run(l)
	return c, nil
}

// Close ends the client, and returns when its goroutines have. Calls in progress fail with
// [ErrClosed]. It must not be called by OnNotification, OnConnect or OnDisconnect.
func (c *Client) Close() error {
	c.stop(ErrClosed)
	<-c.done
	return nil
}

// Done returns what is closed when the client has ended, by Close or because it gave up.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why the client has ended; nil while it has not.
func (c *Client) Err() error { return context.Cause(c.ctx) }

// Call is that of [Caller]. While there is no connection it waits for one.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	l, err := c.await(ctx)
	if err != nil {
		return err
	}
	return l.Call(ctx, method, params, result)
}

// Notify is that of [Caller]. While there is no connection it waits for one.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	l, err := c.await(ctx)
	if err != nil {
		return err
	}
	return l.Notify(ctx, method, params)
}

// await returns the connection, as soon as there is one.
func (c *Client) await(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, changed := c.link, c.changed
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, c.Err()
		case l != nil && !l.ended():
			return l, nil
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Client) set(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	close(c.changed)
	c.changed = make(chan struct{})
}

// run keeps the client connected.
func (c *Client) run(l *link) {
	defer close(c.done)
	failures := 0
	for began := time.Now(); ; began = time.Now() {
		if l != nil {
			l.wait()
			c.set(nil)
			if time.Since(began) > c.opts.MaxBackoff {
				failures = 0
			}
			c.report(l.why())
		}
		if !c.rest(failures) {
			return
		}
		var err error
		if l, err = c.connect(c.ctx); err != nil {
			l = nil
			c.report(err)
		} else {
			c.set(l)
		}
		failures++
		if l == nil && c.opts.MaxAttempts > 0 && failures >= c.opts.MaxAttempts {
			c.stop(fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, failures, err))
			return
		}
	}
}

func (c *Client) report(err error) {
	if c.opts.OnDisconnect != nil {
		c.opts.OnDisconnect(err)
	}
}

// backoff returns how long to rest after so many failures.
func (o *Options) backoff(failures int) time.Duration {
	d := o.MinBackoff << min(failures, 30)
	if d > o.MaxBackoff || d < o.MinBackoff {
		d = o.MaxBackoff
	}
	return d - rand.N(d/2+1)
}

// rest waits before the next attempt, and reports whether there is to be one.
func (c *Client) rest(failures int) bool {
	t := time.NewTimer(c.opts.backoff(failures))
	defer t.Stop()
	select {
	case <-t.C:
		return c.ctx.Err() == nil
	case <-c.ctx.Done():
		return false
	}
}

// connect makes a connection that is ready to be used.
func (c *Client) connect(ctx context.Context) (*link, error) {
	dial, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	nc, err := c.opts.Transport.Dial(dial, c.opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.opts.Addr, err)
	}
	l := newLink(c, nc)
	if c.opts.OnConnect == nil {
		return l, nil
	}
	hello, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	if err := c.opts.OnConnect(hello, l); err != nil {
		l.fail(err)
		l.wait()
		return nil, fmt.Errorf("connect to %s: %w", c.opts.Addr, err)
	}
	return l, nil
}
