package client

import (
	"encoding/json"
	"strconv"

	"goranch/protocol/pubsub"
)

// position is the place of a subscription in its topic, if [SubscribeOptions].Since is set. The
// client's lock guards it.
type position struct {
	last pubsub.Position // of the last message, or where messages continue
	// stale: messages are missing after last. Those that arrive are discarded until the server has
	// answered a subscribe request, because it sends them again.
	stale     bool
	requested bool // that request was sent
}

// advance reports whether a message with that offset is to be delivered, and records it.
func (p *position) advance(offset, previous uint64) bool {
	switch {
	case offset <= p.last.Offset:
		return false
	case previous > p.last.Offset:
		p.stale = true
	}
	if p.stale {
		return false
	}
	p.last.Offset = offset
	return true
}

// Position returns the position of the last message that was received, after which another
// subscription can continue ([SubscribeOptions].Since). It is zero before Subscribe has returned,
// and if Since is nil.
func (s *Subscription) Position() pubsub.Position {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.position.last
}

// dropped requests what the server has dropped of subscriptions with positions.
func (l *link) dropped() {
	c := l.client
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		if s.opts.Since != nil {
			s.position.stale, s.position.requested = true, false // the answer may be what was dropped
			c.requestMissing(l, s)
		}
	}
}

// requestMissing requests the messages of s after its position, unless that was done. Before the
// link is active, activate does that for all subscriptions. c.mu is held.
func (c *Client) requestMissing(l *link, s *Subscription) {
	if !s.position.requested && c.redialer.Link() == l {
		c.requestSubscription(l, s)
	}
}

// subscribed handles the frame that says where the messages of a topic continue.
func (l *link) subscribed(f *controlFrame) {
	c := l.client
	c.mu.Lock()
	s := c.subs[*f.Subscribed]
	if s == nil || s.opts.Since == nil {
		c.mu.Unlock()
		return
	}
	from, to := s.position.last, pubsub.Position{Epoch: f.Epoch, Offset: f.Offset}
	known := from.Epoch == to.Epoch && from.Offset >= to.Offset // by the answer to an earlier request
	if known {
		to = from
	}
	s.position = position{last: to}
	s.confirm()
	c.mu.Unlock()
	if !f.Recovered && !known {
		c.counters.gaps.Add(1)
		if s.opts.OnGap != nil {
			s.opts.OnGap(from, to)
		}
	}
}

// offsetOf returns the offset of a message of a subscription with positions. Publishers may set the
// same member of other messages to any JSON value.
func offsetOf(b json.RawMessage) uint64 {
	n, _ := strconv.ParseUint(string(b), 10, 64) // 0: no offset
	return n
}
