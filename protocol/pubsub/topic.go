package pubsub

import (
	"sync"
	"time"

	"goranch/protocol"
)

// topic is a topic or a pattern, with its subscribers.
//
// A message reaches a subscriber in one of two ways. Attached sessions that subscribe to topics
// only are in the group, whose broadcast is fast. All others receive it through their session:
// detached sessions, because it buffers their messages, and sessions with patterns, because a
// message must reach them once even if several of their subscriptions match.
type topic struct {
	name       string
	patternSeq uint64 // of a pattern: its place in the locking order

	mu          sync.Mutex // held during a publish, which gives the topic its order
	removed     bool       // from the topicTable
	group       *protocol.Group
	viaSessions map[*subscriber]struct{}
	history     history
	emptySince  time.Time // zero while there are subscribers
}

// subscribers returns the number of subscribers. t.mu is held.
func (t *topic) subscribers() int {
	n := len(t.viaSessions)
	if t.group != nil {
		n += t.group.Count()
	}
	return n
}

// add adds sub, to the group if viaGroup is set and p, its connection, is not nil. t.mu is held.
func (t *topic) add(sub *subscriber, p *protocol.Peer, viaGroup bool) {
	if viaGroup && p != nil {
		if t.group == nil {
			t.group = &protocol.Group{Codec: codec{}}
		}
		if t.group.Join(p) == nil {
			delete(t.viaSessions, sub)
			return
		}
	}
	if t.viaSessions == nil {
		t.viaSessions = make(map[*subscriber]struct{})
	}
	t.viaSessions[sub] = struct{}{}
}

// remove removes sub, whose connection is or was p; p may be nil. t.mu is held.
func (t *topic) remove(sub *subscriber, p *protocol.Peer) {
	if delete(t.viaSessions, sub); len(t.viaSessions) == 0 {
		t.viaSessions = nil // a map never shrinks
	}
	if t.group != nil && p != nil {
		t.group.Leave(p)
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
	for sub := range t.viaSessions {
		if delivered != nil {
			if _, ok := delivered[sub]; ok {
				continue
			}
			delivered[sub] = struct{}{}
		}
		if sub.session.Output(frame) == nil {
			n++
		}
	}
	return n
}

// history holds the last messages of a topic.
type history struct {
	frames [][]byte
	bytes  int
}

// add appends a frame, and removes the oldest ones beyond the limits.
func (h *history) add(frame []byte, maxFrames, maxBytes int) {
	if maxFrames <= 0 || maxBytes <= 0 {
		return
	}
	h.frames = append(h.frames, frame)
	h.bytes += len(frame)
	for len(h.frames) > maxFrames || h.bytes > maxBytes {
		h.removeOldest()
	}
}

func (h *history) removeOldest() {
	h.bytes -= len(h.frames[0])
	h.frames[0] = nil
	h.frames = h.frames[1:]
}

func (h *history) last(n int) [][]byte { return h.frames[len(h.frames)-min(n, len(h.frames)):] }
