package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Errors of Client.
var (
	// ErrLost is what Do returns when the connection broke before the answer came. The
	// command may have been carried out, so it is not repeated.
	ErrLost = errors.New("the connection broke before the answer; the command may have been carried out")
	// ErrTakenOver ends a client whose session another connection has taken.
	ErrTakenOver = errors.New("another connection has taken the session over")
	// ErrClosed is what Do returns after Close, or once the server has ended the session.
	ErrClosed = errors.New("the connection is closed")
	// ErrLine is wrapped by what Do returns for a command that cannot be sent.
	ErrLine = errors.New("a command is one line of text")
)

// maxLine bounds a line of the server, which a client keeps in memory.
const maxLine = 16 << 20

// ClientOptions is what a Client needs to know.
type ClientOptions struct {
	// Dial opens a connection. It must be set.
	Dial func(ctx context.Context) (net.Conn, error)
	// Token is asked for what to authenticate with, anew for each connection; nil, and
	// "", is nothing.
	Token func() (string, error)
	// Show is given what comes without being an answer: output and frames of commands,
	// and events. It is called by one goroutine at a time, always before the answer is
	// returned, and what it does not take is not read from the connection. It must be set.
	Show Viewer
	// Reconnect is whether a connection that broke is replaced by another to the same session.
	Reconnect bool
	// ConnectTimeout bounds each attempt to connect, with all that precedes the first
	// command. 0 is 5 seconds; negative is no bound.
	ConnectTimeout time.Duration
	// Backoff is the pause after the first failed attempt to reconnect; it doubles up to
	// MaxBackoff, and a random part of up to a half is taken off. 0 is 100 milliseconds
	// and 10 seconds.
	Backoff, MaxBackoff time.Duration
	// GiveUp is how long to try to reconnect, before the client ends with ErrClosed. 0 is for ever.
	GiveUp time.Duration
}

// Viewer is who is shown what a server sends on its own.
type Viewer interface {
	Output(p []byte)             // a part of a command's output
	Frame(a *Answer)             // replaces the one before
	Notice(text string)          // something that happened, one line
	Reconnected(r *Reconnection) // after a connection that was lost
}

// Reconnection says how it went.
type Reconnection struct {
	After   time.Duration // since the loss
	Resumed bool          // false: the session had expired, this is a new one
}

func (o *ClientOptions) setDefaults() {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 10 * time.Second
	}
}

// Client gives commands to a shell and gets their results. It may be used by several
// goroutines; commands are sent one after the other. Close it when it is no longer needed.
type Client struct {
	opts ClientOptions
	end  context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
	turn chan struct{} // who has put something in may give a command

	mu      sync.Mutex
	link    *link         // nil while there is no connection
	up      chan struct{} // closed when there is one again
	pending *pending
	session string
	err     error // why it ended
}

// link is one connection, answering in JSON.
type link struct {
	net.Conn
	lines *bufio.Reader
	last  int64 // the number of the last request
}

// pending is a command whose answer has not come.
type pending struct {
	id   int64
	done chan reply // has room for one
}

type reply struct {
	answer *Answer
	err    error
}

// Connect opens a connection, and returns when commands can be given. The end of ctx
// after that does not matter to the client.
func Connect(ctx context.Context, opts ClientOptions) (*Client, error) {
	opts.setDefaults()
	c := &Client{opts: opts, done: make(chan struct{}), turn: make(chan struct{}, 1)}
	l, _, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	c.link = l
	life, end := context.WithCancel(context.Background())
	c.end = end
	go c.run(life, l)
	return c, nil
}

// Session returns the session's identification.
func (c *Client) Session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Done is closed when the client has ended: by Close, or because there is no connection
// and will be none.
func (c *Client) Done() <-chan struct{} { return c.done }

// Do gives a command, one line, and waits for its answer. The error is a *RemoteError if
// the server says that it failed, ErrLost, ErrTakenOver, ErrClosed or that of ctx. When
// ctx ends the command is cancelled and its answer is not waited for.
//
// Without a connection it first waits for one, if the client reconnects.
func (c *Client) Do(ctx context.Context, line string) (*Answer, error) {
	return c.do(ctx, line, true)
}

// do is Do, that may leave the command alone when ctx ends.
func (c *Client) do(ctx context.Context, line string, cancel bool) (*Answer, error) {
	if i := strings.IndexAny(line, "\n\r\x00\x03"); i >= 0 {
		return nil, fmt.Errorf("%w, this one contains %q", ErrLine, line[i])
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	l, p, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer c.forget(p)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // also if the write below is stuck
		defer close(told)
		l.SetWriteDeadline(time.Now().Add(time.Second))
		if cancel {
			if _, err := l.Write([]byte{interrupt}); err != nil {
				l.Close()
			}
		}
		l.SetWriteDeadline(time.Time{})
	})
	defer stop()
	if _, err := l.Write(append([]byte(line), '\n')); err != nil {
		l.Close() // its reader sees that, and answers with ErrLost
	}
	select {
	case r := <-p.done:
		return r.answer, r.err
	case <-ctx.Done():
		<-told // or the next command would be the one that it cancels
		return nil, context.Cause(ctx)
	}
}

// interrupt is the byte that cancels the running command.
const interrupt = 0x03

// begin waits for a connection and registers a request on it.
func (c *Client) begin(ctx context.Context) (*link, *pending, error) {
	for {
		c.mu.Lock()
		l, up, err := c.link, c.up, c.err
		if err == nil && l != nil {
			l.last++
			c.pending = &pending{id: l.last, done: make(chan reply, 1)}
			p := c.pending
			c.mu.Unlock()
			return l, p, nil
		}
		c.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

func (c *Client) forget(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == p {
		c.pending = nil
	}
}

// Connected reports whether there is a connection.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// Cancel asks the server to end the running command, whose answer then says so.
func (c *Client) Cancel() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.Write([]byte{interrupt})
	}
}

// Quit ends the session, so that the server need not keep it, and closes the client.
func (c *Client) Quit(ctx context.Context) {
	c.mu.Lock()
	connected := c.link != nil
	c.opts.Reconnect = false
	c.mu.Unlock()
	if connected {
		c.Do(ctx, "quit")
	}
	c.Close()
}

// Close closes the connection; the session stays until it expires. It returns when
// nothing more will be shown.
func (c *Client) Close() {
	c.fail(ErrClosed)
	c.end()
	<-c.done
}

// fail ends the client, for the first reason that is given.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if c.link != nil {
		c.link.Close()
	}
}

// Err returns why the client ended, and nil while it has not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
