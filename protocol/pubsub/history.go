package pubsub

import (
	"sync"
	"time"
)

// history holds the last messages of a topic, and its place in histories. nil is an empty one: topics
// that have subscribers and no messages take less memory.
type history struct {
	entries []historyEntry
	base    uint64 // every message after this offset is in entries, unless that is empty
	bytes   int

	offset, previous uint64 // of the last message and the one before it

	place      historyPlace
	placedUsed bool // the last argument of histories.update
}

// historyEntry is a message as subscribers receive it.
type historyEntry struct {
	frame            []byte
	offset, previous uint64 // of the message and the one before it
}

func (h *history) empty() bool { return h == nil || len(h.entries) == 0 }

func (h *history) clear() {
	if h != nil {
		h.entries, h.bytes = nil, 0
	}
}

// advance gives the next message its offset.
func (h *history) advance() { h.previous, h.offset = h.offset, h.offset+1 }

// add appends the message at h.offset, and removes the oldest ones beyond the limits.
func (h *history) add(frame []byte, maxFrames, maxBytes int) {
	if len(h.entries) == 0 {
		h.base = h.previous
	}
	h.entries = append(h.entries, historyEntry{frame, h.offset, h.previous})
	h.bytes += len(frame)
	for len(h.entries) > maxFrames || h.bytes > maxBytes {
		h.base = h.entries[0].offset
		h.bytes -= len(h.entries[0].frame)
		h.entries[0] = historyEntry{}
		h.entries = h.entries[1:]
	}
	if len(h.entries) == 0 {
		h.entries = nil
	}
}

func (h *history) last(n int) []historyEntry {
	if h.empty() {
		return nil
	}
	return h.entries[len(h.entries)-min(n, len(h.entries)):]
}

// memory returns the memory of the history of t and of the topic itself, in bytes; 0 if there is no
// history. t.mu is held.
func (h *history) memory(name string) int64 {
	if h.empty() {
		return 0
	}
	return int64(400 + len(name) + 48*len(h.entries) + h.bytes)
}

// histories orders the topics that have a history by the time of their last message, and limits the
// memory of all histories. Its lock is acquired after that of a topic.
type histories struct {
	limit int64 // negative: none

	mu           sync.Mutex
	bytes        int64
	unused, used topicList // topics without and with subscribers
}

// historyPlace is a topic's place in histories, guarded by the lock of that.
type historyPlace struct {
	list       *topicList // nil: none
	prev, next *topic
	bytes      int64
	touched    time.Time // the last message, or the end of the last subscription
}

// topicList is a list of topics, the one touched longest ago first.
type topicList struct{ first, last *topic }

func (l *topicList) push(t *topic) {
	p := &t.history.place
	p.list, p.prev = l, l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.history.place.next = t
	}
	l.last = t
}

func (l *topicList) unlink(t *topic) {
	p := &t.history.place
	if p.prev == nil {
		l.first = p.next
	} else {
		p.prev.history.place.next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		p.next.history.place.prev = p.prev
	}
	p.list, p.prev, p.next = nil, nil, nil
}

// unlink removes t. h.mu is held.
func (h *histories) unlink(t *topic) {
	p := &t.history.place
	if p.list != nil {
		p.list.unlink(t)
	}
	h.bytes -= p.bytes
	p.bytes = 0
}

// update records the size of the history of t, which is the latest now, and whether t has
// subscribers. It returns the topics whose history the caller must pass to evict when it has
// unlocked t: beyond the limit, those of the oldest topics, first without and then with
// subscribers. t.mu is held.
func (h *histories) update(t *topic, used bool) (victims []*topic) {
	if t.history == nil {
		return nil
	}
	bytes := t.history.memory(t.name)
	t.history.placedUsed = used
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unlink(t)
	if bytes == 0 {
		return nil
	}
	list := &h.unused
	if used {
		list = &h.used
	}
	t.history.place.bytes, t.history.place.touched = bytes, time.Now()
	h.bytes += bytes
	list.push(t)
	for h.limit >= 0 && h.bytes > h.limit {
		oldest := h.unused.first
		if oldest == nil {
			oldest = h.used.first
		}
		h.unlink(oldest)
		victims = append(victims, oldest)
	}
	return victims
}

// has reports whether t has a place.
func (h *histories) has(t *topic) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.history != nil && t.history.place.list != nil
}

// takeExpired removes and returns topics without subscribers that were touched before the time.
func (h *histories) takeExpired(before time.Time) (expired []*topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := h.unused.first; t != nil && t.history.place.touched.Before(before); t = h.unused.first {
		h.unlink(t)
		expired = append(expired, t)
	}
	return expired
}

// evict drops the histories of topics that update or takeExpired has returned, and the topics too if
// they have no subscribers. A topic that has received a message meanwhile keeps its history.
func (ts *topicTable) evict(victims []*topic) {
	for _, t := range victims {
		t.mu.Lock()
		if !ts.histories.has(t) {
			t.history.clear()
		}
		ts.release(t)
	}
}
