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
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"goranch/internal/redial"
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
func (o Options) Validate() error { return o.redial().Validate() }

func (o Options) redial() redial.Options {
	return redial.Options{Transport: o.Transport, Addr: o.Addr, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		MaxAttempts: o.MaxAttempts, DialTimeout: o.DialTimeout}
}

// Client calls methods of a server.
type Client struct {
	opts  Options
	codec protocol.LengthPrefix
	keep  *redial.Keeper[*link]
}

var _ Caller = (*Client)(nil)

// Dial connects, within ctx, and returns an error if that fails, OnConnect included. From then on
// the client connects again by itself, until it is closed or gives up.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts.Heartbeat = cmp.Or(opts.Heartbeat, time.Minute)
	c := &Client{opts: opts, codec: protocol.LengthPrefix{Max: opts.MaxFrame}}
	c.keep = redial.New(ctx, opts.redial(), redial.Hooks[*link]{Connect: c.connect, Lost: c.lost, GaveUp: ErrGaveUp})
	if err := c.keep.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the client, and returns when its goroutines have. Calls in progress fail with
// [ErrClosed]. It must not be called by OnNotification, OnConnect or OnDisconnect.
func (c *Client) Close() error { return c.keep.Close(ErrClosed) }

// Done returns what is closed when the client has ended, by Close or because it gave up.
func (c *Client) Done() <-chan struct{} { return c.keep.Ctx.Done() }

// Err returns why the client has ended; nil while it has not.
func (c *Client) Err() error { return context.Cause(c.keep.Ctx) }

// Call is that of [Caller]. While there is no connection it waits for one.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	l, err := c.keep.Await(ctx)
	if err != nil {
		return err
	}
	return l.Call(ctx, method, params, result)
}

// Notify is that of [Caller]. While there is no connection it waits for one.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	l, err := c.keep.Await(ctx)
	if err != nil {
		return err
	}
	return l.Notify(ctx, method, params)
}

func (c *Client) lost(_ *link, err error) {
	if c.opts.OnDisconnect != nil {
		c.opts.OnDisconnect(err)
	}
}

// connect makes a connection that is ready to be used.
func (c *Client) connect(ctx context.Context) (*link, error) {
	l, err := c.keep.Open(ctx, func(nc net.Conn) *link { return newLink(c, nc) }, func(ctx context.Context, l *link) error {
		if c.opts.OnConnect == nil {
			return nil
		}
		return c.opts.OnConnect(ctx, l)
	})
	if err == nil {
		c.keep.Set(l)
	}
	return l, err
}
