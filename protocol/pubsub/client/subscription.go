package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"goranch/internal/option"
	"goranch/internal/topicname"
	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// SubscribeOptions configures a [Subscription]. The zero value delivers messages to a channel.
type SubscribeOptions struct {
	// Handler receives the messages, one after the other. It runs in the goroutine that reads the
	// connection, must return soon, and must not wait for a method of the client. nil delivers to
	// the channel.
	Handler func(Message)
	// Buffer is the capacity of the channel. 0 is 64; negative values are refused.
	Buffer int
	// Overflow says what happens to a message when the channel is full: protocol.DropNewest drops
	// it, protocol.DropOldest drops the oldest in the channel, and protocol.Block stops reading the
	// connection, and thereby all subscriptions and answers, until the channel has space; the
	// server closes the client or drops messages when its queue is full. "" is protocol.DropNewest;
	// protocol.CloseSlow is refused.
	Overflow protocol.Overflow
	// Last requests the last message of the topic, and History this many of the last messages, if
	// the server has kept them. Both are requested again when the session was lost. They are
	// refused for patterns; negative values are refused.
	Last    bool
	History int
	// Since requests the messages after a position, and those that the client misses later,
	// whatever the reason: the server sends them again as long as its history has them. The zero
	// position requests new messages only. nil requests no positions. It is refused for patterns,
	// and together with Last and History.
	Since *pubsub.Position
	// OnGap is called when messages after the position from are lost, because the server no longer
	// has them. Messages continue after to. It runs as Handler does. nil ignores gaps; Stats counts
	// them.
	OnGap func(from, to pubsub.Position)
}

func (o *SubscribeOptions) validate(name string) error {
	var faults option.Faults
	switch {
	case name == "":
		faults.Add(errors.New("empty topic name"))
	case !utf8.ValidString(name):
		faults.Add(fmt.Errorf("topic name %q is not valid UTF-8", name))
	case strings.ContainsFunc(name, unicode.IsControl):
		faults.Add(fmt.Errorf("topic name %q contains a control character", name))
	case topicname.IsPattern(name) && o.Since != nil:
		faults.Add(fmt.Errorf("%q is a pattern, which has no positions: Since must be nil", name))
	case o.Since != nil && (o.Last || o.History > 0):
		faults.Add(errors.New("a subscription with Since has no Last and no History: they must be zero"))
	case topicname.IsPattern(name) && (o.Last || o.History > 0):
		faults.Add(fmt.Errorf("%q is a pattern, which has no history: Last and History must be zero", name))
	}
	faults.NotNegative("Buffer", o.Buffer, "0 for 64")
	faults.NotNegative("History", o.History, "0 for none")
	switch o.Overflow {
	case "", protocol.DropNewest, protocol.DropOldest, protocol.Block:
	default:
		faults.Bad("Overflow", o.Overflow, "DropNewest, DropOldest and Block")
	}
	if err := faults.Err(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

// Subscription is a client's subscription to a topic or pattern. It lasts across connections and
// sessions, until it is unsubscribed, the server refuses it, or the client ends. All methods may be
// called from any goroutine.
type Subscription struct {
	client *Client
	name   string
	opts   SubscribeOptions
	ch     chan Message // nil if there is a handler; never closed
	done   chan struct{}

	// Guarded by the client's lock.
	active    bool          // the server has confirmed it in the current session
	err       error         // set before done is closed
	confirmed chan struct{} // receives the first confirmation
	position  position

	received received
}

// Name returns the topic or pattern.
func (s *Subscription) Name() string { return s.name }

// C returns the channel of messages, or nil if there is a Handler. It is never closed; see
// [Subscription.Done].
func (s *Subscription) C() <-chan Message { return s.ch }

// Done returns a channel that is closed when the subscription has ended.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns the reason why the subscription has ended: [ErrUnsubscribed], an error that wraps
// [ErrRefused], or the error of the client. It returns nil if the subscription has not ended.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Next returns the next message of the channel. After the subscription has ended, it returns the
// messages left in the channel, then the error of Err. If ctx ends first, the error is its cause.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
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

// Unsubscribe ends the subscription. No message is delivered after it has returned, except one for
// which the handler is running. It does not block: while the client is disconnected, the request is
// sent later.
func (s *Subscription) Unsubscribe() {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs[s.name] != s {
		return
	}
	c.remove(s, ErrUnsubscribed)
	if l := c.redialer.Link(); l != nil {
		l.unsubscribe(s.name)
	}
}
