package adminhttp

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// hub distributes events to streams. An event is encoded once and shared by all.
type hub struct {
	h           *Handler
	connStreams atomic.Int32 // streams of connection events: without any, connections cost nothing

	mu       sync.Mutex
	streams  map[*stream]struct{}
	byClient map[string]int
	sampling chan struct{} // closed to stop the sampler; nil: it does not run
	samplers sync.WaitGroup
	detach   func() // stops observing the server; set while there is a stream
}

func (b *hub) init(h *Handler) {
	b.h, b.streams, b.byClient = h, map[*stream]struct{}{}, map[string]int{}
}

// stream is the queue of one event stream.
type stream struct {
	kinds  []string
	client string
	limit  int
	ready  chan struct{} // has an element if the queue is not empty

	mu    sync.Mutex
	queue [][]byte
	size  int    // bytes in the queue
	lost  uint64 // events that were not queued since the last one that was
}

// open adds a stream. The first one starts the sampler, and observes the server.
func (b *hub) open(kinds []string, client string) (*stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.h.opts.MaxStreams
	switch {
	case b.h.ctx.Err() != nil:
		return nil, errShutdown
	case len(b.streams) >= limit:
		return nil, errTooManyStreams
	case b.byClient[client] >= max(limit/4, 1):
		return nil, errClientStreams
	}
	s := &stream{kinds: kinds, client: client, limit: b.h.opts.MaxBuffered, ready: make(chan struct{}, 1)}
	b.streams[s] = struct{}{}
	b.byClient[client]++
	if slices.Contains(kinds, connectionEvents) {
		b.connStreams.Add(1)
	}
	if b.sampling == nil {
		stop := make(chan struct{})
		b.sampling = stop
		b.samplers.Go(func() { b.runSampler(stop) })
		b.detach = b.h.opts.Server.Observe(b.observe)
	}
	return s, nil
}

// close removes a stream. The last one stops what the first has started.
func (b *hub) close(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s)
	if b.byClient[s.client]--; b.byClient[s.client] == 0 {
		delete(b.byClient, s.client)
	}
	if slices.Contains(s.kinds, connectionEvents) {
		b.connStreams.Add(-1)
	}
	if len(b.streams) == 0 {
		close(b.sampling)
		b.sampling = nil
		b.detach()
	}
}

func (b *hub) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.streams)
}

// wait waits until the sampler has ended.
func (b *hub) wait() { b.samplers.Wait() }

// runSampler publishes samples until stop is closed. The first one follows at once.
func (b *hub) runSampler(stop <-chan struct{}) {
	tick := time.NewTicker(b.h.opts.Interval)
	defer tick.Stop()
	m := &sampler{h: b.h}
	for {
		b.publish(statsEvents, "stats", m.sample())
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// publish queues an event for all streams of that kind.
func (b *hub) publish(kind, name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		b.h.opts.Logger.Error("an event cannot be encoded", "event", name, "err", err)
		return
	}
	var e bytes.Buffer
	e.WriteString("event: " + name + "\ndata: ")
	e.Write(data) // JSON has no line feeds
	e.WriteString("\n\n")
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.streams {
		if slices.Contains(s.kinds, kind) {
			s.add(e.Bytes())
		}
	}
}

// maxQueue bounds the queue of a stream, whose events can be short.
const maxQueue = 1024

// add queues an event unless the queue is full. An event that follows lost ones says how many.
func (s *stream) add(event []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+len(event) > s.limit || len(s.queue) >= maxQueue {
		s.lost++
		return
	}
	if s.lost > 0 {
		b, _ := json.Marshal(map[string]uint64{"lost": s.lost})
		notice := []byte("event: lost\ndata: " + string(b) + "\n\n")
		s.queue, s.size, s.lost = append(s.queue, notice), s.size+len(notice), 0
	}
	s.queue, s.size = append(s.queue, event), s.size+len(event)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// take returns all queued events as one piece.
func (s *stream) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := bytes.Join(s.queue, nil)
	clear(s.queue)
	s.queue, s.size = s.queue[:0], 0
	return all
}
