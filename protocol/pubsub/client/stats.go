package client

import "sync/atomic"

type counters struct {
	messages, duplicates, dropped, serverDropped, lostBytes, unmatched, gaps, resumed, sessionsLost, disconnects atomic.Uint64
}

// Stats holds the counters of a [Client] since it was created.
type Stats struct {
	Messages      uint64 // received messages, each counted once
	Duplicates    uint64 // messages that a subscription had already received, or receives again later
	Dropped       uint64 // messages dropped because a subscription's channel was full
	ServerDropped uint64 // messages that the server reports as dropped from its queue to this client
	LostBytes     uint64 // bytes that the server reports as dropped from its buffer while disconnected
	Gaps          uint64 // losses of messages of subscriptions with positions
	Unmatched     uint64 // messages that matched no subscription, without OnUnmatched
	Resumed       uint64 // connections that resumed the session
	SessionsLost  uint64 // sessions that could not be resumed, each with unknown loss of messages
	Disconnects   uint64 // ended connections and failed attempts to connect
}

// Stats returns the current counters.
func (c *Client) Stats() Stats {
	n := &c.counters
	return Stats{
		Messages: n.messages.Load(), Duplicates: n.duplicates.Load(), Dropped: n.dropped.Load(),
		ServerDropped: n.serverDropped.Load(), LostBytes: n.lostBytes.Load(), Gaps: n.gaps.Load(), Unmatched: n.unmatched.Load(),
		Resumed: n.resumed.Load(), SessionsLost: n.sessionsLost.Load(), Disconnects: n.disconnects.Load(),
	}
}
