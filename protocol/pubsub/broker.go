package pubsub

import "sync"

// Broker connects servers: a message that is published at one server is delivered to the
// subscribers of all. Deliveries within one server do not pass through the broker.
type Broker interface {
	// Publish sends a message to the other servers. frame is the message as subscribers receive it:
	// with its timestamp and the byte that ends the frame. It must not be changed, even after
	// Publish has returned. Publish should not block.
	Publish(topic string, frame []byte) error
	// Receive registers a server; each server calls it once. The broker calls deliver, from any
	// goroutine, with what the other servers publish, in the order of each of them, until stop has
	// returned.
	Receive(deliver func(topic string, frame []byte)) (stop func(), err error)
}

// MemoryHub connects the servers of one process. The zero value is ready for use; each server gets
// its own broker from [MemoryHub.Join].
type MemoryHub struct {
	mu    sync.RWMutex
	ports map[*hubPort]func(topic string, frame []byte)
}

// Join returns the broker for one server.
func (m *MemoryHub) Join() Broker { return &hubPort{m} }

type hubPort struct{ hub *MemoryHub }

func (p *hubPort) Publish(topic string, frame []byte) error {
	p.hub.mu.RLock()
	defer p.hub.mu.RUnlock()
	for other, deliver := range p.hub.ports {
		if other != p {
			deliver(topic, frame)
		}
	}
	return nil
}

func (p *hubPort) Receive(deliver func(topic string, frame []byte)) (stop func(), err error) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.ports == nil {
		p.hub.ports = make(map[*hubPort]func(string, []byte))
	}
	p.hub.ports[p] = deliver
	return func() {
		p.hub.mu.Lock()
		defer p.hub.mu.Unlock()
		delete(p.hub.ports, p)
	}, nil
}
