package web

import (
	"sync"
	"sync/atomic"
)

// Limits of the messages that the gateway keeps for event streams that reconnect.
const (
	maxReplayBuffers  = 1000
	maxReplayMessages = 64
	maxReplayBytes    = 64 << 10 // of one session
	maxReplayTotal    = 16 << 20
)

// replayBuffer numbers the messages of a session and holds the last ones, which the browser may not
// have received.
type replayBuffer struct {
	table *replayTable

	mu       sync.Mutex
	upstream *upstream // the connection that is attached to the session
	last     uint64    // number of the last message
	messages []frame
	bytes    int
	evicted  bool // holds no messages any more
}

// add appends a message and returns its number.
func (b *replayBuffer) add(data []byte) uint64 {
	number, added := b.append(data)
	if b.table.bytes.Add(int64(added)) > maxReplayTotal {
		b.table.evict()
	}
	return number
}

func (b *replayBuffer) append(data []byte) (number uint64, added int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	if b.evicted {
		return b.last, 0
	}
	before := b.bytes
	b.messages = append(b.messages, frame{b.last, data})
	b.bytes += len(data)
	for len(b.messages) > maxReplayMessages || b.bytes > maxReplayBytes {
		b.bytes -= len(b.messages[0].data)
		b.messages[0] = frame{}
		b.messages = b.messages[1:]
	}
	return b.last, b.bytes - before
}

// evict drops the messages for good and returns how many bytes they had.
func (b *replayBuffer) evict() (dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dropped = b.bytes
	b.messages, b.bytes, b.evicted = nil, 0, true
	return dropped
}

// after returns the messages after number n, and how many of them are no longer in the buffer.
func (b *replayBuffer) after(n uint64) (messages []frame, lost uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n >= b.last {
		return nil, 0
	}
	for i, m := range b.messages {
		if m.number > n {
			return append(messages, b.messages[i:]...), m.number - n - 1
		}
	}
	return nil, b.last - n
}

// successor returns a buffer for the next connection of the session, which takes the messages over.
// lastReceived is the number of the last message that the browser has received.
func (b *replayBuffer) successor(up *upstream, lastReceived uint64) *replayBuffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := &replayBuffer{table: b.table, upstream: up, last: max(b.last, lastReceived), messages: b.messages, bytes: b.bytes}
	b.messages, b.bytes, b.evicted = nil, 0, true
	return next
}

// replayTable holds the replay buffers of the most recent sessions.
type replayTable struct {
	bytes   atomic.Int64 // of all buffers
	mu      sync.Mutex
	byToken map[string]*replayBuffer
	order   []string // tokens, oldest first
}

func (t *replayTable) put(token string, b *replayBuffer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byToken == nil {
		t.byToken = make(map[string]*replayBuffer)
	}
	if t.byToken[token] == nil {
		t.order = append(t.order, token)
	}
	t.byToken[token] = b
	if len(t.order) > maxReplayBuffers {
		t.removeOldest()
	}
}

// removeOldest removes the buffer of the oldest session. t.mu is held.
func (t *replayTable) removeOldest() {
	b := t.byToken[t.order[0]]
	delete(t.byToken, t.order[0])
	t.order = t.order[1:]
	t.bytes.Add(-int64(b.evict()))
}

// evict removes the oldest buffers beyond maxReplayTotal.
func (t *replayTable) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.bytes.Load() > maxReplayTotal && len(t.order) > 0 {
		t.removeOldest()
	}
}

// take closes the session's earlier connection, so that its replay buffer is complete, and returns
// the buffer; nil if there is none.
func (t *replayTable) take(token string) *replayBuffer {
	t.mu.Lock()
	b := t.byToken[token]
	t.mu.Unlock()
	if b != nil {
		b.upstream.close()
	}
	return b
}
