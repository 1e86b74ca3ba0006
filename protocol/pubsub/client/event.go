package client

import "sync/atomic"

// Kind is what an [Event] is about.
type Kind string

const (
	// Connected: there is a new session, and nothing to go on with.
	Connected Kind = "connected"
	// Lost: the connection has ended, or none could be made; Err is why.
	Lost Kind = "lost"
	// Resumed: the session goes on over a new connection, with what was published meanwhile.
	Resumed Kind = "resumed"
	// Resubscribed: the session was unknown by then. There is a new one, whose subscriptions, N of them, have
	// taken effect; what was published meanwhile is lost, but for the history that they ask for.
	Resubscribed Kind = "resubscribed"
	// Dropped: N messages were not delivered because the client did not keep up; Topic is the subscription
	// whose channel was full, or "" if the server has dropped them.
	Dropped Kind = "dropped"
	// LostBytes: of what the server kept for the session it had to drop N bytes.
	LostBytes Kind = "lost bytes"
	// Refused: the server has ended the connection because of the subscription Topic, which has ended.
	Refused Kind = "refused"
)

// Event is something that happens to a [Client].
type Event struct {
	Kind  Kind
	Topic string
	N     uint64
	Err   error
}

// counters are those of Stats.
type counters struct {
	messages, duplicates, dropped, serverDropped, lostBytes, unclaimed, resumed, resubscribed, lost atomic.Uint64
}

// Stats are counters since the client was made.
type Stats struct {
	Messages      uint64 // received, each counted once
	Duplicates    uint64 // deliveries left out after a subscription was made anew, since it has had them
	Dropped       uint64 // deliveries left out because a subscription's channel was full
	ServerDropped uint64 // what the server says it has dropped of what was sent to this client
	LostBytes     uint64 // what the server says it has dropped while there was no connection
	Unclaimed     uint64 // messages that no subscription has asked for
	Resumed       uint64 // connections that went on with the session
	Resubscribed  uint64 // connections that could not: each time an unknown number of messages may be lost
	Lost          uint64 // connections that have ended, and attempts that have failed
}

// Stats returns what has happened so far.
func (c *Client) Stats() Stats {
	n := &c.count
	return Stats{
		Messages: n.messages.Load(), Duplicates: n.duplicates.Load(), Dropped: n.dropped.Load(),
		ServerDropped: n.serverDropped.Load(), LostBytes: n.lostBytes.Load(), Unclaimed: n.unclaimed.Load(),
		Resumed: n.resumed.Load(), Resubscribed: n.resubscribed.Load(), Lost: n.lost.Load(),
	}
}

// happened counts an event, and tells it.
func (c *Client) happened(e Event) {
	n := &c.count
	switch e.Kind {
	case Lost:
		n.lost.Add(1)
	case Resumed:
		n.resumed.Add(1)
	case Resubscribed:
		n.resubscribed.Add(1)
	case LostBytes:
		n.lostBytes.Add(e.N)
	case Dropped:
		if e.Topic == "" {
			n.serverDropped.Add(e.N)
		} else {
			n.dropped.Add(e.N)
		}
	}
	c.opts.OnEvent(e)
}
