package web

import "sync"

// Limits of the messages that the gateway keeps for event streams that reconnect.
const (
	maxReplayBuffers  = 1000
	maxReplayMessages = 64
	maxReplayBytes    = 64 << 10
)

// replayBuffer numbers the messages of a session and holds the last ones, which the browser may not
// have received.
type replayBuffer struct {
	mu       sync.Mutex
	upstream *upstream // the connection that is attached to the session
	last     uint64    // number of the last message
	messages []frame
	bytes    int
}

// add appends a message and returns its number.
func (b *replayBuffer) add(data []byte) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.messages = append(b.messages, frame{b.last, data})
	b.bytes += len(data)
	for len(b.messages) > maxReplayMessages || b.bytes > maxReplayBytes {
		b.bytes -= len(b.messages[0].data)
		b.messages[0] = frame{}
		b.messages = b.messages[1:]
	}
	return b.last
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

// successor returns a buffer for the next connection of the session, with the same messages.
// lastReceived is the number of the last message that the browser has received.
func (b *replayBuffer) successor(up *upstream, lastReceived uint64) *replayBuffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &replayBuffer{upstream: up, last: max(b.last, lastReceived), messages: b.messages, bytes: b.bytes}
}

// replayTable holds the replay buffers of the most recent sessions.
type replayTable struct {
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
		delete(t.byToken, t.order[0])
		t.order = t.order[1:]
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
