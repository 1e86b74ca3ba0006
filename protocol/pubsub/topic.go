package pubsub

import (
	"slices"
	"sync"

	"goranch/protocol"
)

// topic is a topic or a pattern, with its subscribers.
//
// A message reaches a subscriber in one of two ways. Attached sessions that subscribe to topics
// only are in the groups of their first topics, whose broadcast is fast. All other subscriptions
// receive it through their session: those of detached sessions, because it buffers their messages;
// those of sessions with patterns, because a message must reach them once even if several of their
// subscriptions match; those whose messages have offsets, because their frames differ; and further
// ones of a session, because each group takes time and memory of the peer.
type topic struct {
	name    string
	pattern *patternEntry // nil for topics

	mu      sync.Mutex // held during a publish, which gives the topic its order
	removed bool       // from the topicTable
	counted bool       // against MaxTopics, because it is used; the Broker delivers its messages
	pins    int32      // requests that need the messages delivered by the Broker
	group   *protocol.Group
	direct  []*subscription // served through their sessions
	history *history        // nil until the first message, or until a client asks for the position
}

// subscription is one subscription of a session.
type subscription struct {
	sub   *subscriber
	topic *topic

	// topic.mu guards these.
	direct   int32 // index in topic.direct, plus 1; 0 in the group
	numbered bool  // its messages have offsets; it is not in the group

	grouped bool // in the group of its topic, unless viaSession or peer of sub forbid that; under sub.mu
}

// subscriptionBytes is the memory of a subscription, in bytes, for limits.
func subscriptionBytes(name string) int { return subscriptionSize + len(name) }

const subscriptionSize = 512

// subscribers returns the number of subscribers. t.mu is held.
func (t *topic) subscribers() int {
	n := len(t.direct)
	if t.group != nil {
		n += t.group.Count()
	}
	return n
}

// used reports whether t has subscribers, or is pinned. t.mu is held.
func (t *topic) used() bool { return t.pins > 0 || t.subscribers() > 0 }

// add adds sn, to the group if viaGroup is set and p, its connection, is not nil. t.mu is held.
func (t *topic) add(sn *subscription, p *protocol.Peer, viaGroup bool) {
	if viaGroup && p != nil {
		if t.group == nil {
			t.group = &protocol.Group{Codec: codec{}}
		}
		if t.group.Join(p) == nil {
			return
		}
	}
	t.direct = append(t.direct, sn)
	sn.direct = int32(len(t.direct))
}

// remove removes sn, whose connection is or was p; p may be nil. t.mu is held.
func (t *topic) remove(sn *subscription, p *protocol.Peer) {
	if sn.direct == 0 {
		if t.group != nil && p != nil {
			t.group.Leave(p)
		}
		return
	}
	if t.history != nil {
		delete(t.history.ahead, sn)
	}
	last := len(t.direct) - 1
	moved := t.direct[last]
	t.direct[sn.direct-1] = moved
	moved.direct = sn.direct
	t.direct[last] = nil
	t.direct = t.direct[:last]
	sn.direct = 0
	if last <= cap(t.direct)/4 {
		t.direct = slices.Clip(slices.Clone(t.direct)) // nil if it is empty
	}
}

// flushGroup waits until p, if it is in the group, has been sent all broadcasts so far. t.mu is
// held.
func (t *topic) flushGroup(p *protocol.Peer) {
	if t.group != nil && p != nil {
		t.group.Wait(p)
	}
}

// deliver sends a frame to all subscribers except those in delivered. It adds those that it reaches
// through their sessions to delivered, unless that is nil. t.mu is held.
func (t *topic) deliver(frame []byte, delivered map[*subscriber]struct{}) (n int) {
	if t.group != nil {
		n = t.group.BroadcastEncoded(frame, nil)
	}
	var numbered []byte
	for _, sn := range t.direct {
		if delivered != nil {
			if _, ok := delivered[sn.sub]; ok {
				continue
			}
			delivered[sn.sub] = struct{}{}
		}
		out := frame
		if sn.numbered {
			if t.history.isAhead(sn) {
				continue
			}
			if numbered == nil {
				numbered = numberedFrame(frame, t.history.offset, t.history.previous)
			}
			out = numbered
		}
		if sn.sub.session.Output(out) == nil {
			n++
		}
	}
	return n
}
