// Package client provides a client of topic servers (package pubsub). It subscribes and publishes.
// When its connection ends, it connects again and resumes its session.
//
//	c, err := client.Dial(ctx, client.Options{Addr: "127.0.0.1:8081"})
//	…
//	defer c.Close()
//	_, err = c.Subscribe(ctx, "news.*", client.SubscribeOptions{Handler: func(m client.Message) { … }})
//	n, err := c.Publish(ctx, "news.go", "release", "1", data)
//
// A client whose session is no longer known to the server starts a new one and subscribes again. If
// another client attaches to the session, the client ends with [pubsub.ErrTakenOver], because two
// clients with one token would take the session over from each other without end. docs/topics.md
// describes which messages may be lost when a connection breaks.
package client

import (
	"context"
	"errors"
	"sync"

	"goranch/internal/redial"
	"goranch/protocol/pubsub"
)

var (
	// ErrDisconnected is wrapped by the error of a request that was in progress when the connection
	// ended, and that may have taken effect. The error wraps the reason, too.
	ErrDisconnected = errors.New("the connection has ended")
	// ErrRefused is wrapped by the error of a request that the server has refused, by closing the
	// connection. The error's text ends with the server's reason.
	ErrRefused = errors.New("refused by the server")
	// ErrNotPublished is wrapped by the error of a publish that the server has refused without
	// ending the connection, because it is not possible now: it has not accepted the message, or
	// does not know whether it has. The error's text ends with the server's reason.
	ErrNotPublished = errors.New("not published")
	// ErrClosed is returned by the methods of a closed client.
	ErrClosed = errors.New("the client is closed")
	// ErrGaveUp is wrapped by the error with which a client ends after Options.MaxAttempts failed
	// connection attempts.
	ErrGaveUp = errors.New("gave up connecting")
	// ErrUnsubscribed is the error of a subscription after [Subscription.Unsubscribe].
	ErrUnsubscribed = errors.New("unsubscribed")
)

var errSubscribed = errors.New("already subscribed")

// Client is a client of a topic server. All methods may be called from any goroutine. A Client runs
// one goroutine, and two more while it is connected.
type Client struct {
	opts     Options
	redialer *redial.Connector[*link]
	counters counters

	mu       sync.Mutex // locked before link.mu and the redialer's lock
	token    string
	subs     map[string]*Subscription
	patterns []*Subscription // the patterns among subs
	// sessionTopics are the names to which the server's session may be subscribed.
	sessionTopics map[string]struct{}
}

// Dial connects to a server. It returns an error if the first attempt fails or ctx ends. Afterwards
// the client connects again by itself until it is closed, gives up, or its session is taken over.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	c := &Client{
		opts: opts.withDefaults(), token: opts.Token,
		subs: make(map[string]*Subscription), sessionTopics: make(map[string]struct{}),
	}
	c.redialer = redial.New(ctx, opts.redial(), redial.Hooks[*link]{
		Connect: c.connect, Disconnected: c.disconnected, Ended: c.endSubscriptions, ErrGaveUp: ErrGaveUp,
	})
	if err := c.redialer.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close closes the client and waits for its goroutines. Requests in progress and subscriptions end
// with [ErrClosed]. The server keeps the session for its TTL. Handlers and the callbacks of
// [Options] must not call Close, which would wait for them. The error is always nil.
func (c *Client) Close() error { return c.redialer.Close(ErrClosed) }

// Done returns a channel that is closed when the client has ended.
func (c *Client) Done() <-chan struct{} { return c.redialer.Done() }

// Err returns the reason why the client has ended, or nil if it has not.
func (c *Client) Err() error { return c.redialer.Err() }

// Token returns the token of the session, with which another client can take the session over. It
// changes when the session is lost.
func (c *Client) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// disconnected is called when a connection has ended, and with a nil link when an attempt has
// failed.
func (c *Client) disconnected(l *link, err error) {
	if l != nil {
		err = l.reason()
	}
	c.counters.disconnects.Add(1)
	c.opts.OnDisconnect(err)
	if l != nil && errors.Is(err, pubsub.ErrTakenOver) {
		c.redialer.Stop(err)
	}
}

func (c *Client) endSubscriptions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		c.remove(s, c.Err())
	}
}
