package pubsub

import "sync"

// Broker connects servers: what is published at one is delivered at all. Within a server
// nothing goes by the broker.
type Broker interface {
	// Publish hands on what was published at a server, as subscribers get it: a frame, stamped, with what
	// ends it. frame must not be changed. It ought not to wait.
	Publish(topic string, frame []byte) error
	// Receive is called once by each server: deliver is to be called, from any goroutine, with what was published
	// at others, in the order of each of them, until stop has returned.
	Receive(deliver func(topic string, frame []byte)) (stop func(), err error)
}

// Memory connects the servers of one process. Each has a broker of its own from [Memory.Join].
type Memory struct {
	mu    sync.RWMutex
	ports map[*port]func(topic string, frame []byte)
}

// Join returns the broker for one more server.
func (m *Memory) Join() Broker { return &port{m} }

type port struct{ m *Memory }

func (p *port) Publish(topic string, frame []byte) error {
	p.m.mu.RLock()
	defer p.m.mu.RUnlock()
	for other, deliver := range p.m.ports {
		if other != p {
			deliver(topic, frame)
		}
	}
	return nil
}

func (p *port) Receive(deliver func(topic string, frame []byte)) (stop func(), err error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.ports == nil {
		p.m.ports = make(map[*port]func(string, []byte))
	}
	p.m.ports[p] = deliver
	return func() {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		delete(p.m.ports, p)
	}, nil
}
