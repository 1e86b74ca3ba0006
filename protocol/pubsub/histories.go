package pubsub

import (
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// histories limits the memory of all histories. Beyond the limit the oldest history of the source
// address whose messages take the most memory is evicted, so that a client that publishes to many
// topics does not evict the histories of others. Its lock is acquired after that of a topic.
type histories struct {
	limit int64 // negative: none

	mu      sync.Mutex
	bytes   int64
	unused  topicList // topics without subscribers, of all publishers
	byOwner map[netip.Addr]*publisher
	classes [64][]*publisher // by the length of their bytes as a binary number
}

// publisher is a source address that was the last to publish to some topics. The zero address is
// that of clients without one, of Server.Publish and of the broker.
type publisher struct {
	key          netip.Addr
	bytes        int64
	unused, used topicList // its topics without and with subscribers
	class, index int       // its place in histories.classes
}

// historyPlace is a topic's place in histories, guarded by the lock of that.
type historyPlace struct {
	owner   *publisher // nil: none
	links   [2]historyLink
	bytes   int64
	touched time.Time // the last message, or the end of the last subscription
}

// historyLink is a topic's place in a list.
type historyLink struct {
	list       *topicList // nil: none
	prev, next *topic
}

// topicList is a list of topics, the one touched longest ago first.
type topicList struct {
	link        int // which of historyPlace.links
	first, last *topic
}

// The lists that use each of historyPlace.links.
const (
	linkOfAll = iota
	linkOfOwner
)

func (l *topicList) push(t *topic) {
	p := &t.history.place.links[l.link]
	p.list, p.prev = l, l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.history.place.links[l.link].next = t
	}
	l.last = t
}

func (l *topicList) unlink(t *topic) {
	p := &t.history.place.links[l.link]
	if p.prev == nil {
		l.first = p.next
	} else {
		p.prev.history.place.links[l.link].next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		p.next.history.place.links[l.link].prev = p.prev
	}
	p.list, p.prev, p.next = nil, nil, nil
}

// unlink removes t. h.mu is held.
func (h *histories) unlink(t *topic) {
	p := &t.history.place
	if p.owner == nil {
		return
	}
	for i := range p.links {
		if l := p.links[i].list; l != nil {
			l.unlink(t)
		}
	}
	h.bytes -= p.bytes
	h.resize(p.owner, -p.bytes)
	p.owner, p.bytes = nil, 0
}

// remove removes t, and its publisher if that has no other topic. h.mu is held.
func (h *histories) remove(t *topic) {
	owner := t.history.place.owner
	h.unlink(t)
	h.forget(owner)
}

// forget removes o, which may be nil, if it has no topics. h.mu is held.
func (h *histories) forget(o *publisher) {
	if o != nil && o.bytes == 0 && h.byOwner[o.key] == o {
		h.leaveClass(o)
		delete(h.byOwner, o.key)
	}
}

// update records the size of the history of t, which is the latest now, whose message it is, and
// whether t has subscribers. It returns the topics whose history the caller must pass to evict when
// it has unlocked t: beyond the limit, those of the publisher that takes the most, the oldest
// first, those without subscribers before the others. t.mu is held.
func (h *histories) update(t *topic, used bool) (evicted []*topic) {
	if t.history == nil {
		return nil
	}
	bytes := t.history.memory(t.name)
	t.history.placedUsed = used
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &t.history.place
	before := p.owner
	defer func() { h.forget(before) }()
	h.unlink(t)
	if bytes == 0 {
		return nil
	}
	p.owner, p.bytes, p.touched = h.publisher(t.history.by), bytes, time.Now()
	if used {
		p.owner.used.push(t)
	} else {
		p.owner.unused.push(t)
		h.unused.push(t)
	}
	h.bytes += bytes
	h.resize(p.owner, bytes)
	for h.limit >= 0 && h.bytes > h.limit {
		oldest := h.largest().oldest()
		h.remove(oldest)
		evicted = append(evicted, oldest)
	}
	return evicted
}

// publisher returns the publisher with that address. h.mu is held.
func (h *histories) publisher(key netip.Addr) *publisher {
	o := h.byOwner[key]
	if o == nil {
		o = &publisher{key: key, index: -1}
		o.unused.link, o.used.link = linkOfOwner, linkOfOwner
		if h.byOwner == nil {
			h.byOwner = make(map[netip.Addr]*publisher)
		}
		h.byOwner[key] = o
	}
	return o
}

// resize changes the bytes of o. h.mu is held.
func (h *histories) resize(o *publisher, by int64) {
	o.bytes += by
	if class := bits.Len64(uint64(o.bytes)); o.index < 0 || o.class != class {
		h.leaveClass(o)
		o.class, o.index = class, len(h.classes[class])
		h.classes[class] = append(h.classes[class], o)
	}
}

// leaveClass removes o from its class, if it has one. h.mu is held.
func (h *histories) leaveClass(o *publisher) {
	if o.index < 0 {
		return
	}
	list := h.classes[o.class]
	last := list[len(list)-1]
	list[o.index], last.index = last, o.index
	list[len(list)-1] = nil
	h.classes[o.class] = list[:len(list)-1]
	o.index = -1
}

// largest returns a publisher that takes the most memory, or at least half as much. There is one.
// h.mu is held.
func (h *histories) largest() *publisher {
	class := len(h.classes) - 1
	for len(h.classes[class]) == 0 {
		class--
	}
	return h.classes[class][0]
}

func (o *publisher) oldest() *topic {
	if o.unused.first != nil {
		return o.unused.first
	}
	return o.used.first
}

// has reports whether t has a place.
func (h *histories) has(t *topic) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.history != nil && t.history.place.owner != nil
}

// takeExpired removes and returns topics without subscribers that were touched before the time.
func (h *histories) takeExpired(before time.Time) (expired []*topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := h.unused.first; t != nil && t.history.place.touched.Before(before); t = h.unused.first {
		h.remove(t)
		expired = append(expired, t)
	}
	return expired
}
