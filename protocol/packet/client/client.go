// Package client provides a client for servers of package packet, and for any other server that
// speaks JSON-RPC 2.0 in frames with a four-byte length. It calls methods, receives notifications
// and reconnects when the connection has ended.
//
//	c, err := client.Dial(ctx, client.Options{Addr: "127.0.0.1:8082"})
//	…
//	defer c.Close()
//	var sum int
//	err = c.Call(ctx, "add", []int{1, 2}, &sum)
//
// A Client has one goroutine, and two more while it is connected, one that reads and one that
// writes. Close waits for all of them.
package client

import (
	"context"
	"errors"
	"net"

	"goranch/internal/redial"
	"goranch/protocol"
)

var (
	// ErrDisconnected is wrapped by the error of a call that was in progress when the connection
	// ended: the server may or may not have served it. The error also wraps the reason, an
	// [*packet.Error] if the server has sent one.
	ErrDisconnected = errors.New("the connection has ended")
	// ErrClosed is returned by the methods of a closed client.
	ErrClosed = errors.New("the client is closed")
	// ErrGaveUp is wrapped by the errors of a client that has ended by Options.MaxAttempts.
	ErrGaveUp = errors.New("gave up connecting")
)

// Client calls methods of a server. All methods may be called from any goroutine.
type Client struct {
	opts      Options
	codec     protocol.LengthPrefix
	connector *redial.Connector[*link]
	link      *link // the only link to use; nil: the current one
}

// Dial connects within ctx, which includes Options.OnConnect, and returns an error if that fails.
// Then the client reconnects by itself until it is closed or gives up.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	c := &Client{opts: opts, codec: protocol.LengthPrefix{Max: opts.MaxFrame}}
	c.connector = redial.New(ctx, opts.redial(), redial.Hooks[*link]{
		Connect: c.connect, Disconnected: c.disconnected, ErrGaveUp: ErrGaveUp,
	})
	if err := c.connector.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the client and waits until its goroutines have returned. Calls in progress fail with
// [ErrClosed]. It must not be called by a hook of [Options]. It always returns nil.
func (c *Client) Close() error { return c.connector.Close(ErrClosed) }

// Done returns a channel that is closed when the client has ended: by Close, or because it gave up.
func (c *Client) Done() <-chan struct{} { return c.connector.Done() }

// Err returns why the client has ended; nil while it has not.
func (c *Client) Err() error { return c.connector.Err() }

// Call calls a method and decodes the result into result, unless that is nil. nil params are
// omitted. While there is no connection it waits for one. The error is an [*packet.Error] sent by
// the server, the cause of ctx, the error with which the client ended, an encoding or decoding
// error, or wraps [ErrDisconnected].
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	l, err := c.await(ctx)
	if err != nil {
		return err
	}
	return l.call(ctx, method, params, result)
}

// Notify sends a notification, which has no response. It returns when the message is queued. While
// there is no connection it waits for one.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	l, err := c.await(ctx)
	if err != nil {
		return err
	}
	return l.send(ctx, nil, method, params)
}

func (c *Client) await(ctx context.Context) (*link, error) {
	if c.link != nil {
		return c.link, nil
	}
	return c.connector.Await(ctx)
}

// connect opens a link and calls OnConnect with a client that uses only this link, as the link is
// not the current one before OnConnect has succeeded.
func (c *Client) connect(ctx context.Context) (*link, error) {
	newLink := func(nc net.Conn) *link { return newLink(c, nc) }
	return c.connector.Open(ctx, newLink, func(ctx context.Context, l *link) error {
		if c.opts.OnConnect == nil {
			return nil
		}
		return c.opts.OnConnect(ctx, &Client{opts: c.opts, codec: c.codec, connector: c.connector, link: l})
	})
}

func (c *Client) disconnected(l *link, err error) {
	if l != nil {
		err = l.reason()
	}
	if c.opts.OnDisconnect != nil {
		c.opts.OnDisconnect(err)
	}
}
