package pubsub

import (
	"context"
	"errors"
)

// ErrUnavailable is wrapped by the errors of a [Broker] that cannot be reached, or cannot confirm a
// message, now. A request that fails with it can be repeated.
var ErrUnavailable = errors.New("unavailable")

// Broker connects servers: a message that is published at one server is delivered to the
// subscribers of all. It gives each message of an ordered topic a position, and delivers it to all
// servers, also to the one that has published it, in the order of the positions. Messages of other
// topics are delivered by the server to its own clients, and by the broker to other servers. All
// methods may be called from any goroutine.
type Broker interface {
	// Ordered reports whether a topic is ordered. It must be the same for all servers, and not
	// change.
	Ordered(topic string) bool
	// Publish publishes a message. frame is the message as subscribers receive it: with its
	// timestamp and the byte that ends the frame. It must not be changed, even after Publish has
	// returned.
	//
	// If the topic is ordered, Publish waits until the message is accepted, and returns its
	// position. key is empty, or identifies the message of the topic: messages with the same key
	// that are accepted within [KeyWindow] are delivered once, and have the same position. An error
	// means that the message was not accepted, or that this is unknown; it wraps
	// protocol.ErrBadInput if the message never can be. For other topics Publish does not wait.
	Publish(ctx context.Context, topic, key string, frame []byte) (Position, error)
	// Subscribe makes the broker deliver the messages of topics, which may be patterns, to this
	// server. The server subscribes once to each. Subscribe is called with locks held: it does not
	// wait for the network, and does not call the Receiver.
	Subscribe(topics ...string)
	// Unsubscribe ends subscriptions, under the same conditions.
	Unsubscribe(topics ...string)
	// History returns the messages of an ordered topic after a position, up to limit: if there are
	// more, the last ones. The zero position is the current one, after which there are none, unless
	// last is set: then it returns the last messages. The server is subscribed to the topic;
	// messages that are published after History has returned are delivered.
	History(ctx context.Context, topic string, since Position, last bool, limit int) (Recovery, error)
	// Presence returns the number of subscribers that the other servers have for a topic or
	// pattern.
	Presence(ctx context.Context, topic string) (int, error)
	// Receive registers a server, which calls it once. No method of r is called after stop has
	// returned.
	Receive(r Receiver) (stop func(), err error)
}

// Message is a message that a [Broker] delivers.
type Message struct {
	Topic string
	Frame []byte // as it was published; must not be changed afterwards
	// Position is zero if the topic is not ordered.
	Position Position
	// Previous is the offset of the topic's message before this one, 0 if none is known.
	Previous uint64
}

// Recovery is the answer to [Broker.History].
type Recovery struct {
	// From is the position that precedes Messages.
	From Position
	// Recovered is false if messages are missing between the requested position and From.
	Recovered bool
	// Messages are all messages of the topic after From, in their order, at the time of the answer.
	Messages []Message
}

// last returns the offset of the last message.
func (r *Recovery) last() uint64 {
	if n := len(r.Messages); n > 0 {
		return r.Messages[n-1].Position.Offset
	}
	return r.From.Offset
}

// Limit removes all but the last n messages. Recovered becomes false if messages are removed,
// unless expected is set.
func (r *Recovery) Limit(n int, expected bool) {
	excess := len(r.Messages) - n
	if excess <= 0 {
		return
	}
	r.From.Offset = r.Messages[excess-1].Position.Offset
	r.Messages = r.Messages[excess:]
	r.Recovered = r.Recovered && expected
}

// Receiver is a [Server] as its [Broker] sees it. Its methods may be called from any goroutine, but
// Deliver and Gap in the order of each topic.
type Receiver interface {
	// Deliver delivers a message to the clients of the server. A message of an ordered topic
	// follows the one before it; messages that were delivered before are ignored.
	Deliver(Message)
	// Gap reports that messages of an ordered topic are missing and cannot be delivered. Its
	// messages continue after from.
	Gap(topic string, from Position)
	// State reports the state of the broker: err is the reason why it is degraded, or nil.
	State(err error)
	// Subscribers returns the number of subscribers of the server itself, for Presence.
	Subscribers(topic string) int
}
