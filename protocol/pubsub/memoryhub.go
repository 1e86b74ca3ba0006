package pubsub

import (
	"context"
	"crypto/rand"
	"net/netip"
	"sync"

	"goranch/internal/keyid"
	"goranch/internal/option"
)

// MemoryHub connects the servers of one process. The zero value is ready for use; each server gets
// its own broker from [MemoryHub.Join]. The fields must not be changed afterwards.
type MemoryHub struct {
	// Ordered reports whether the hub orders a topic. nil orders none.
	Ordered func(topic string) bool
	// Keep is the number of messages that are kept of each ordered topic; the number of topics is
	// not limited. 0 is 16; negative values are like 1.
	Keep int

	mu     sync.RWMutex
	ports  map[*hubPort]Receiver
	epoch  string
	offset uint64 // of the last message of all ordered topics
	topics map[string]*hubTopic
	keys   keyTable
}

// hubTopic is an ordered topic.
type hubTopic struct {
	messages []Message
	base     uint64 // all messages after this offset are in messages
}

// Join returns the broker for one server.
func (m *MemoryHub) Join() Broker {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch == "" {
		m.epoch, m.keys.limit = rand.Text(), -1
		m.ports, m.topics = make(map[*hubPort]Receiver), make(map[string]*hubTopic)
		option.Default(&m.Keep, 16)
	}
	return &hubPort{m}
}

type hubPort struct{ hub *MemoryHub }

func (p *hubPort) Ordered(topic string) bool { return p.hub.Ordered != nil && p.hub.Ordered(topic) }

// Subscribe does nothing: all servers receive all messages.
func (p *hubPort) Subscribe(...string) {}

func (p *hubPort) Unsubscribe(...string) {}

func (p *hubPort) Publish(_ context.Context, topic, key string, frame []byte) (Position, error) {
	if p.Ordered(topic) {
		return p.hub.publish(topic, key, frame)
	}
	p.hub.mu.RLock()
	defer p.hub.mu.RUnlock()
	for other, r := range p.hub.ports {
		if other != p {
			r.Deliver(Message{Topic: topic, Frame: frame})
		}
	}
	return Position{}, nil
}

// publish publishes a message of an ordered topic. The lock is held until all servers have it,
// which keeps the order.
func (m *MemoryHub) publish(topic, key string, frame []byte) (Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key != "" {
		id := keyid.Of(topic, key)
		if before, known, err := m.keys.begin(id, netip.Addr{}); known || err != nil {
			return before.Position, err
		}
		defer func() { m.keys.end(id, Published{Position: Position{m.epoch, m.offset}}, nil) }()
	}
	t := m.topics[topic]
	if t == nil {
		t = new(hubTopic)
		m.topics[topic] = t
	}
	m.offset++
	msg := Message{Topic: topic, Frame: frame, Position: Position{m.epoch, m.offset}, Previous: t.last()}
	t.messages = append(t.messages, msg)
	if len(t.messages) > max(m.Keep, 1) {
		t.base = t.messages[0].Position.Offset
		t.messages = t.messages[1:]
	}
	for _, r := range m.ports {
		r.Deliver(msg)
	}
	return msg.Position, nil
}

func (t *hubTopic) last() uint64 {
	if n := len(t.messages); n > 0 {
		return t.messages[n-1].Position.Offset
	}
	return 0
}

func (p *hubPort) History(_ context.Context, topic string, since Position, last bool, limit int) (Recovery, error) {
	m := p.hub
	m.mu.RLock()
	defer m.mu.RUnlock()
	r := Recovery{From: Position{m.epoch, m.offset}, Recovered: true}
	t := m.topics[topic]
	switch {
	case since == (Position{}) && !last:
		return r, nil
	case since.Epoch == m.epoch && since.Offset <= m.offset:
		r.From = since
	default:
		r.From.Offset, r.Recovered = 0, last
	}
	if t == nil {
		return r, nil
	}
	if t.base > r.From.Offset {
		r.From.Offset, r.Recovered = t.base, last
	}
	for _, msg := range t.messages {
		if msg.Position.Offset > r.From.Offset {
			r.Messages = append(r.Messages, msg)
		}
	}
	r.Limit(limit, last)
	return r, nil
}

func (p *hubPort) Presence(_ context.Context, topic string) (n int, _ error) {
	p.hub.mu.RLock()
	defer p.hub.mu.RUnlock()
	for other, r := range p.hub.ports {
		if other != p {
			n += r.Subscribers(topic)
		}
	}
	return n, nil
}

func (p *hubPort) Receive(r Receiver) (stop func(), err error) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.hub.ports[p] = r
	return func() {
		p.hub.mu.Lock()
		defer p.hub.mu.Unlock()
		delete(p.hub.ports, p)
	}, nil
}
