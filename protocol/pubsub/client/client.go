// Package client is a client of topic servers (package pubsub): it subscribes and publishes, and when the
// connection has ended it makes another and goes on with its session.
//
//	c, err := client.Dial(ctx, client.Options{Addr: "127.0.0.1:8081"})
//	…
//	defer c.Close()
//	_, err = c.Subscribe(ctx, "news.*", client.Subscription{Handler: func(m client.Message) { … }})
//	n, err := c.Publish(ctx, "news.go", "release", "1", data)
//
// # Delivery
//
// Each subscription gets what fits it in the order in which its topic got it. While a connection lasts
// nothing is lost or comes twice, unless the client does not keep up. When it breaks:
//
//   - If the server still has the session (10 minutes by default), it delivers what came meanwhile. What
//     was on its way when the connection broke is lost, and nobody can tell. What the server could not
//     keep is told by [LostBytes].
//   - If it has not, because it was restarted for instance, the client makes a new session and subscribes
//     again ([Resubscribed]). What came meanwhile is lost, but for the history that a subscription asks for. What a
//     subscription to one topic has had already it does not get twice: it is told by its time, and counted.
//   - A publish under way fails with [ErrDisconnected]: nobody knows whether it has arrived. To
//     publish it again may mean to publish it twice.
//
// When history of a topic is asked for by a later Subscribe, patterns that the topic fits get it too.
//
// If somebody else attaches to the session, the client ends with [ErrTakenOver]: two clients with one token
// would else take it from each other for ever.
//
// A Client has one goroutine, and while it is connected two more, one that reads and one that
// writes; Close waits for all of them. All methods may be called from any goroutine.
package client

import (
	"context"
	"errors"
	"sync"

	"goranch/internal/redial"
	"goranch/protocol/pubsub"
)

var (
	// ErrDisconnected is wrapped by the error of a request that was under way when the connection
	// ended: nobody knows whether it has taken effect. It wraps why.
	ErrDisconnected = errors.New("the connection has ended")
	// ErrRefused is wrapped by the error of a request for which the server has ended the connection. Its
	// text goes on with what the server says.
	ErrRefused = errors.New("refused by the server")
	// ErrTakenOver is why a client ends whose session was attached to another connection.
	ErrTakenOver = pubsub.ErrTakenOver
	// ErrClosed is returned by the methods of a closed client.
	ErrClosed = errors.New("the client is closed")
	// ErrGaveUp is wrapped by the errors of a client that could not connect in MaxAttempts.
	ErrGaveUp = errors.New("gave up connecting")
	// ErrUnsubscribed is how a subscription ends that was unsubscribed.
	ErrUnsubscribed = errors.New("unsubscribed")
	// ErrSubscribed is returned for a topic or pattern that the client has subscribed to already.
	ErrSubscribed = errors.New("subscribed already")
)

// Client subscribes and publishes.
type Client struct {
	opts  Options
	keep  *redial.Connector[*link]
	count counters

	mu       sync.Mutex // before link.mu and the lock of keep
	token    string
	subs     map[string]*Sub
	patterns []*Sub              // those of subs
	held     map[string]struct{} // what the session may have subscribed to
}

// Dial connects, within ctx, and returns an error if that fails. From then on the client connects again by
// itself, until it is closed, gives up, or its session is taken over.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	c := &Client{opts: opts.withDefaults(), token: opts.Token, subs: make(map[string]*Sub), held: make(map[string]struct{})}
	c.keep = redial.New(ctx, opts.redial(), redial.Hooks[*link]{Connect: c.connect, Disconnected: c.lost, Ended: c.endSubs, ErrGaveUp: ErrGaveUp})
	if err := c.keep.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the client, and returns when its goroutines have. Requests in progress fail with
// [ErrClosed], as do its subscriptions. The session stays with the server for its time. It must not be called by
// handlers, OnMessage or OnEvent.
func (c *Client) Close() error { return c.keep.Close(ErrClosed) }

// Done returns what is closed when the client has ended.
func (c *Client) Done() <-chan struct{} { return c.keep.Done() }

// Err returns why the client has ended; nil while it has not.
func (c *Client) Err() error { return c.keep.Err() }

// Token returns that of the session. Who has it can take the session over; it changes when the
// session is lost.
func (c *Client) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

func (c *Client) lost(l *link, err error) {
	if l != nil {
		err = l.Why()
	}
	c.happened(Event{Kind: Lost, Err: err})
	if l != nil && errors.Is(err, ErrTakenOver) {
		c.keep.Stop(err)
	}
}

// endSubs ends the subscriptions with the client.
func (c *Client) endSubs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		c.drop(s, c.Err())
	}
}
