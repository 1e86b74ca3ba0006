package client

import (
	"time"

	"goranch/internal/topicname"
	"goranch/protocol"
)

// deliver passes a message to the subscriptions that match it. previous is the offset of the
// topic's message before it.
func (l *link) deliver(m Message, previous uint64) {
	c := l.client
	c.counters.messages.Add(1)
	c.mu.Lock()
	var buf [4]*Subscription // avoids an allocation in the usual case
	matching := buf[:0]
	if s := c.subs[m.Topic]; s != nil && s.active && !topicname.IsPattern(s.name) {
		switch {
		case s.opts.Since == nil:
			m.Offset = 0
		case !s.position.advance(m.Offset, previous):
			if s.position.stale {
				c.requestMissing(l, s)
			}
			c.mu.Unlock()
			c.counters.duplicates.Add(1)
			return
		}
		matching = append(matching, s)
	} else {
		m.Offset = 0
	}
	for _, p := range c.patterns {
		if p.active && topicname.Match(p.name, m.Topic) {
			matching = append(matching, p)
		}
	}
	c.mu.Unlock()
	for _, s := range matching {
		s.deliver(m)
	}
	switch {
	case len(matching) > 0:
	case c.opts.OnUnmatched != nil:
		c.opts.OnUnmatched(m)
	default:
		c.counters.unmatched.Add(1)
	}
}

// deliver passes a message to the handler or the channel.
func (s *Subscription) deliver(m Message) {
	if s.received.isDuplicate(&m) {
		s.client.counters.duplicates.Add(1)
		return
	}
	if s.opts.Handler != nil {
		s.opts.Handler(m)
		return
	}
	if s.opts.Overflow == protocol.Block {
		select {
		case s.ch <- m:
		case <-s.done:
		case <-s.client.Done():
		}
		return
	}
	for {
		select {
		case s.ch <- m:
			return
		default:
		}
		if s.opts.Overflow != protocol.DropOldest {
			s.dropped()
			return
		}
		select {
		case <-s.ch:
			s.dropped()
		default: // the application has received it in the meantime
		}
	}
}

func (s *Subscription) dropped() {
	s.client.counters.dropped.Add(1)
	s.client.opts.OnDrop(s.name, 1)
}

// received records which messages of a topic a subscription has received, so that the history it
// requests from a new session does not deliver them again. Only the goroutine that reads the
// connection uses it.
//
// Messages are identified by their times, which do not decrease within a topic unless the server's
// clock is set back. In that case at most as many messages as the history has are discarded.
type received struct {
	last           time.Time // of the last message
	lastCount      int       // messages received with that time
	maxDuplicates  int       // how many of the next messages may be duplicates
	lastDuplicates int       // duplicates with the time last since expectHistory
}

// expectHistory is called when a subscription has taken effect and its history follows.
func (r *received) expectHistory(opts *SubscribeOptions) {
	r.maxDuplicates, r.lastDuplicates = 0, 0
	if r.last.IsZero() {
		return
	}
	r.maxDuplicates = opts.History
	if opts.Last {
		r.maxDuplicates = max(r.maxDuplicates, 1)
	}
}

// isDuplicate reports whether m was received before, and records it otherwise.
func (r *received) isDuplicate(m *Message) bool {
	if r.maxDuplicates > 0 {
		r.maxDuplicates--
		switch {
		case m.Time.Before(r.last):
			return true
		case m.Time.Equal(r.last) && r.lastDuplicates < r.lastCount:
			r.lastDuplicates++
			return true
		}
		r.maxDuplicates = 0
	}
	if m.Time.Equal(r.last) {
		r.lastCount++
	} else {
		r.last, r.lastCount = m.Time, 1
	}
	return false
}
