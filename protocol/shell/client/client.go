// Package client implements a client of shells (package shell). A [Client] runs commands, passes on
// their output, and resumes its session when the connection breaks.
//
//	c, err := client.Dial(ctx, client.Options{Addr: "127.0.0.1:8080"})
//	…
//	defer c.Close()
//	answer, err := c.Call(ctx, client.Line("connections", "--limit", "5"))
//
// # Broken connections
//
// The client connects again, with the backoff of its [Options], and resumes the session: variables,
// working directory, and the output that the server buffered meanwhile. If the session has expired,
// the client continues with the new session of the connection. A command whose answer was lost
// fails with [ErrDisconnected] and is not repeated, because it may have taken effect; if it is
// still running in the session, later commands wait for it, and [Client.Cancel] cancels it.
//
// # Goroutines
//
// A Client has one goroutine, and two more while it is connected: one reads, one writes. Close
// waits for all of them. All methods may be called from any goroutine.
package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"goranch/internal/redial"
	"goranch/protocol/shell"
)

var (
	// ErrDisconnected is wrapped by the error of a call in progress when the connection ends: the
	// command may or may not have taken effect. It wraps the cause.
	ErrDisconnected = errors.New("the connection has ended")
	// ErrTakenOver ends a client whose session another connection has taken over.
	ErrTakenOver = errors.New("another connection has taken over the session")
	// ErrClosed is returned by the methods of a closed client.
	ErrClosed = errors.New("the client is closed")
	// ErrGaveUp is wrapped by the errors of a client that failed to connect MaxAttempts times.
	ErrGaveUp = errors.New("gave up connecting")
)

// Client runs commands in one session of a shell. Dial creates it; it must be closed.
type Client struct {
	opts      Options
	connector *redial.Connector[*link]

	turn     chan struct{} // holds an element while a call is in progress
	quitting atomic.Bool   // no reconnect when the server ends the session

	mu      sync.Mutex
	session string
}

// Dial connects, authenticates and returns a client that is ready for calls. It does not retry.
// From then on the client reconnects by itself until it is closed, gives up, its token is refused
// or its session is taken over. ctx limits Dial only.
//
// The error is a [*shell.Error] if the server refused the token. Faults of opts are all listed.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	c := &Client{opts: opts.withDefaults(), session: opts.Session, turn: make(chan struct{}, 1)}
	c.connector = redial.New(ctx, opts.redial(), redial.Hooks[*link]{
		Connect: c.connect, Disconnected: c.disconnected, ErrGaveUp: ErrGaveUp,
	})
	if err := c.connector.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Close closes the connection and waits for the client's goroutines. Calls in progress fail with
// [ErrClosed]. The session stays on the server until it expires; [Client.Quit] ends it. Close may
// be called several times, but not by the callbacks of Options. The error is always nil.
func (c *Client) Close() error { return c.connector.Close(ErrClosed) }

// Quit ends the session on the server, then closes the client. It waits for a call in progress.
// The error says why the session may still exist: the client is not connected, the connection
// ended, or ctx did.
func (c *Client) Quit(ctx context.Context) error {
	defer c.Close()
	c.quitting.Store(true)
	switch l := c.connector.Link(); {
	case c.Err() != nil:
		return c.Err()
	case l == nil || l.Err() != nil:
		return ErrDisconnected
	}
	_, err := c.Call(ctx, "quit")
	return err
}

// Done returns a channel that is closed when the client has ended: by Close, or because it is not
// connected and will not try again.
func (c *Client) Done() <-chan struct{} { return c.connector.Done() }

// Err returns why the client has ended, and nil before that.
func (c *Client) Err() error { return c.connector.Err() }

// Session returns the id of the session, which changes when the session expires during an
// interruption. A client that presents the id takes the session over, so it is a secret.
func (c *Client) Session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

func (c *Client) setSession(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = id
}

// disconnected reports that a connection has ended, or, if l is nil, that an attempt to connect has
// failed, and decides whether another attempt makes sense.
func (c *Client) disconnected(l *link, err error) {
	if l != nil {
		err = l.reason()
	}
	c.opts.OnDisconnect(err)
	var refused *shell.Error
	switch {
	case errors.Is(err, ErrTakenOver): // to attach again would start an endless exchange between two clients
		c.connector.Stop(err)
	case c.quitting.Load():
		c.connector.Stop(ErrClosed)
	case l == nil && errors.As(err, &refused) && refused.Code != shell.CodeUnavailable:
		c.connector.Stop(err)
	case l != nil && c.opts.NoReconnect:
		c.connector.Stop(err)
	}
}
