package pubsub

import "net/netip"

// history holds the last messages of a topic, and its place in histories. nil is an empty one: topics
// that have subscribers and no messages take less memory.
type history struct {
	frames [][]byte
	bytes  int

	by         netip.Addr // who has published the last message; see publisher
	place      historyPlace
	placedUsed bool // the last argument of histories.update
}

func (h *history) empty() bool { return h == nil || len(h.frames) == 0 }

func (h *history) clear() {
	if h != nil {
		h.frames, h.bytes = nil, 0
	}
}

// add appends a frame, and removes the oldest ones beyond the limits.
func (h *history) add(frame []byte, maxFrames, maxBytes int) {
	h.frames = append(h.frames, frame)
	h.bytes += len(frame)
	for len(h.frames) > maxFrames || h.bytes > maxBytes {
		h.bytes -= len(h.frames[0])
		h.frames[0] = nil
		h.frames = h.frames[1:]
	}
	if len(h.frames) == 0 {
		h.frames = nil
	}
}

func (h *history) last(n int) [][]byte {
	if h.empty() {
		return nil
	}
	return h.frames[len(h.frames)-min(n, len(h.frames)):]
}

// memory returns the memory of the history of t and of the topic itself, in bytes; 0 if there is no
// history. t.mu is held.
func (h *history) memory(name string) int64 {
	if h.empty() {
		return 0
	}
	return int64(450 + len(name) + 32*len(h.frames) + h.bytes)
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
