package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Full is what happens to a message for which a subscription's channel has no room.
type Full int

// Policies of full channels.
const (
	DropNewest Full = iota // the message is left out, and told by Dropped
	DropOldest             // the oldest in the channel is, likewise
	// Wait holds up the reading of the connection, and so all other subscriptions and answers too. When the
	// server's queue is full it closes the connection, or drops, as it is set.
	Wait
)

// DefaultBuffer is how many messages a subscription's channel holds.
const DefaultBuffer = 64

// Subscription says how messages are delivered. The zero value delivers to the channel of the [Sub].
type Subscription struct {
	// Handler is called with each message, one after the other, in the goroutine that reads: it must return soon,
	// and must not wait for a method of the client. nil is to use the channel.
	Handler func(Message)
	// Buffer is how many messages the channel holds. 0 is 64; negative values are refused.
	Buffer int
	// Full is what happens when there are more. The zero value is DropNewest.
	Full Full
	// Last asks for the last message of the topic too, and History for so many of the last ones, if
	// the server has kept them; both again each time the session was lost. A pattern has none. Negative
	// values are refused.
	Last    bool
	History int
}

func (s *Subscription) validate(name string) error {
	switch {
	case name == "":
		return errors.New("subscribe: the topic is empty")
	case strings.ContainsAny(name, "\x00\x01"):
		return fmt.Errorf("subscribe: topic %q: control characters end frames", name)
	case s.Buffer < 0 || s.History < 0:
		return fmt.Errorf("subscribe: Buffer %d, History %d: allowed are positive numbers, and 0", s.Buffer, s.History)
	case s.Full < DropNewest || s.Full > Wait:
		return fmt.Errorf("subscribe: Full %d: allowed are DropNewest, DropOldest and Wait", s.Full)
	case isPattern(name) && (s.Last || s.History > 0):
		return fmt.Errorf("subscribe: %q: a pattern has no history", name)
	}
	return nil
}

// Sub is a subscription of a client. It goes on over connections and sessions, until it is unsubscribed or the
// client ends.
type Sub struct {
	c    *Client
	name string
	opts Subscription
	ch   chan Message // nil: there is a handler; never closed
	done chan struct{}

	// These are under the client's lock.
	active bool // the session has it
	err    error
	reply  chan answer // of the last request

	reader reader
}

// reader is what the goroutine that reads remembers of a subscription to one topic, so that history does not
// repeat it. There is one such goroutine at a time.
type reader struct {
	last     time.Time // of the last message
	same     int       // how many had that time
	again    int       // how many of those to come may be history
	repeated int       // of the messages with time last, since then
}

// Name returns the topic or pattern.
func (s *Sub) Name() string { return s.name }

// C returns the channel of messages; nil if there is a Handler. It is never closed: see [Sub.Done].
func (s *Sub) C() <-chan Message { return s.ch }

// Done returns what is closed when the subscription has ended.
func (s *Sub) Done() <-chan struct{} { return s.done }

// Err returns why it has ended, nil while it has not: [ErrUnsubscribed], [ErrRefused] with why, or that of
// the client.
func (s *Sub) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Next returns the next message of the channel. What came before the subscription has ended is returned
// first. The error is that of Err or the cause of ctx.
func (s *Sub) Next(ctx context.Context) (Message, error) {
	select {
	case m := <-s.ch:
		return m, nil
	default:
	}
	select {
	case m := <-s.ch:
		return m, nil
	case <-ctx.Done():
		return Message{}, context.Cause(ctx)
	case <-s.done:
	}
	select {
	case m := <-s.ch:
		return m, nil
	default:
		return Message{}, s.err
	}
}

// Unsubscribe ends the subscription. When it returns no message comes any more, but for one that a handler is at
// work on. It waits for nobody: while there is no connection the server is told later.
func (s *Sub) Unsubscribe() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs[s.name] != s {
		return
	}
	c.drop(s, ErrUnsubscribed)
	if l := c.keep.Link(); l != nil {
		l.leave(s.name)
	}
}

// Subscribe subscribes to a topic, or to a pattern: "*" stands for one token of those that dots divide, ">" at
// the end for one or more. It returns when that has taken effect, over as many connections as it needs.
// The error is that of the server, of which ErrRefused tells; [ErrSubscribed]; that of the client; or the cause of ctx.
func (c *Client) Subscribe(ctx context.Context, name string, opts Subscription) (*Sub, error) {
	if err := opts.validate(name); err != nil {
		return nil, err
	}
	s := &Sub{c: c, name: name, opts: opts, done: make(chan struct{}), reply: make(chan answer, 1)}
	if opts.Handler == nil {
		s.opts.Buffer = cmp.Or(s.opts.Buffer, DefaultBuffer)
		s.ch = make(chan Message, s.opts.Buffer)
	}
	if err := c.add(s); err != nil {
		return nil, err
	}
	select {
	case <-s.reply:
		return s, nil
	case <-s.done:
		return nil, s.err
	case <-c.Done():
		return nil, c.Err()
	case <-ctx.Done():
		s.Unsubscribe()
		return nil, context.Cause(ctx)
	}
}

func (c *Client) add(s *Sub) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.Err() != nil:
		return c.Err()
	case c.subs[s.name] != nil:
		return fmt.Errorf("%w: %q", ErrSubscribed, s.name)
	}
	c.subs[s.name] = s
	if isPattern(s.name) {
		c.patterns = append(c.patterns, s)
	}
	if l := c.keep.Link(); l != nil {
		c.request(l, s)
	}
	return nil
}

// request asks the server for a subscription. c.mu is held.
func (c *Client) request(l *link, s *Sub) {
	b, err := (&request{Action: "subscribe", Data: s.name, Last: s.opts.Last, History: s.opts.History}).encode(c.opts.MaxFrame)
	p := &pending{sub: s, again: l.again, reply: make(chan answer, 1)}
	if err == nil {
		err = l.send(b, p)
	}
	if err != nil {
		c.drop(s, err)
		return
	}
	if p.again {
		l.resubs++
	}
	c.held[s.name] = struct{}{}
}

// drop takes a subscription away. c.mu is held.
func (c *Client) drop(s *Sub, err error) {
	if c.subs[s.name] != s {
		return
	}
	delete(c.subs, s.name)
	c.patterns = slices.DeleteFunc(c.patterns, func(p *Sub) bool { return p == s })
	s.err = err
	close(s.done)
}

// confirm notes that a subscription has taken effect.
func (c *Client) confirm(l *link, p *pending) {
	c.mu.Lock()
	s := p.sub
	s.active = true
	s.reader.expect(&s.opts)
	select {
	case s.reply <- answer{}:
	default: // Subscribe has returned long ago
	}
	if p.again {
		l.resubs--
		l.did++
	}
	n, all := l.confirmed()
	c.mu.Unlock()
	if all {
		c.happened(Event{Kind: Resubscribed, N: n})
	}
}

// confirmed reports whether all subscriptions have taken effect again, which it does once. The client's lock
// is held.
func (l *link) confirmed() (n uint64, all bool) {
	all = l.again && l.resubs == 0
	if all {
		l.again = false
	}
	return l.did, all
}

// forget notes what the session has unsubscribed from.
func (c *Client) forget(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if c.subs[name] == nil {
			delete(c.held, name)
		}
	}
}

// refused ends a subscription that the server does not allow.
func (c *Client) refused(s *Sub, err error) {
	c.mu.Lock()
	c.drop(s, err)
	delete(c.held, s.name)
	c.mu.Unlock()
	c.happened(Event{Kind: Refused, Topic: s.name, Err: err})
}
