package pubsub

import "net/netip"

// history holds the last messages of a topic, and its place in histories. nil is an empty one:
// topics that have subscribers and no messages take less memory.
type history struct {
	entries []historyEntry
	base    uint64 // every message after this offset is in entries, unless that is empty
	bytes   int
	epoch   string // of an ordered topic; "" before the first message since the subscription
	// ahead holds subscriptions to an ordered topic that have received messages from the Broker's
	// history which are yet to be delivered, with the offset of the last one in aheadEpoch.
	ahead      map[*subscription]uint64
	aheadEpoch string

	offset, previous uint64 // of the last message and the one before it

	by         netip.Addr // who has published the last message; see publisher
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

// accept records the offset of the next message of an ordered topic. It reports false if that was
// delivered before.
func (h *history) accept(m *Message) bool {
	if h.epoch != m.Position.Epoch {
		h.restart(Position{m.Position.Epoch, m.Previous})
	}
	if m.Position.Offset <= h.offset {
		return false
	}
	h.previous, h.offset = h.offset, m.Position.Offset
	return true
}

// restart drops the messages of an ordered topic, which continue after a position. That is an
// earlier one of the same epoch if the Broker has lost messages.
func (h *history) restart(p Position) {
	h.clear()
	if h.aheadEpoch != p.Epoch || h.epoch == p.Epoch && p.Offset < h.offset {
		h.ahead = nil
	}
	h.epoch, h.previous, h.offset = p.Epoch, p.Offset, p.Offset
}

// setAhead records that sn has received all messages up to a position. If the epoch of the topic is
// not known yet, it may be another one.
func (h *history) setAhead(sn *subscription, p Position) {
	if delete(h.ahead, sn); h.epoch == p.Epoch && p.Offset <= h.offset {
		return
	}
	if h.ahead == nil || h.aheadEpoch != p.Epoch {
		h.ahead, h.aheadEpoch = make(map[*subscription]uint64), p.Epoch
	}
	h.ahead[sn] = p.Offset
}

// hasPassed reports whether sn has received, from the Broker's history, all messages up to a
// position at which a gap ends.
func (h *history) hasPassed(sn *subscription, p Position) bool {
	if h == nil || h.aheadEpoch != p.Epoch {
		return false
	}
	offset, ok := h.ahead[sn]
	return ok && offset >= p.Offset
}

// isAhead reports whether sn has received the last message before.
func (h *history) isAhead(sn *subscription) bool {
	if len(h.ahead) == 0 || h.aheadEpoch != h.epoch {
		return false
	}
	if h.offset <= h.ahead[sn] {
		return true
	}
	delete(h.ahead, sn)
	return false
}

// kept returns the offset after which every message is in entries.
func (h *history) kept() uint64 {
	if len(h.entries) > 0 {
		return h.base
	}
	return h.offset
}

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
	return int64(450 + len(name) + 48*len(h.entries) + h.bytes)
}

// evict drops the histories of topics that update or takeExpired has returned, and the topics too
// if they have no subscribers. A topic that has received a message meanwhile keeps its history.
func (ts *topicTable) evict(evicted []*topic) {
	for _, t := range evicted {
		t.mu.Lock()
		if !ts.histories.has(t) {
			t.history.clear()
		}
		ts.release(t)
	}
}
