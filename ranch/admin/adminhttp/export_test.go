package adminhttp

import (
	"net/http"
	"time"

	"goranch/ranch"
)

// LostEvents returns how many events the streams have lost without being told.
func LostEvents(h *Handler) (n uint64) {
	h.each(func(s *stream) { n += s.lost })
	return n
}

// QueuedBytes returns the bytes of events in the queues of all streams.
func QueuedBytes(h *Handler) (n int) {
	h.each(func(s *stream) { n += s.size })
	return n
}

func (h *Handler) each(f func(*stream)) {
	h.hub.mu.Lock()
	defer h.hub.mu.Unlock()
	for s := range h.hub.streams {
		s.mu.Lock()
		f(s)
		s.mu.Unlock()
	}
}

// Sampling reports whether the sampler runs.
func Sampling(h *Handler) bool {
	h.hub.mu.Lock()
	defer h.hub.mu.Unlock()
	return h.hub.sampling != nil
}

// HTTPServer returns the server behind Serve.
func HTTPServer(h *Handler) *http.Server { return h.server }

// SetTimeouts changes the time limits of requests. It is called before the first connection.
func SetTimeouts(h *Handler, header, request time.Duration) {
	h.server.ReadHeaderTimeout, h.server.ReadTimeout = header, request
}

// Routes returns the method and path of each route.
func Routes(h *Handler) (all []string) {
	for _, r := range h.routes {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

// NewSampler returns a function that does what the sampler does at each interval.
func NewSampler(h *Handler) func() {
	m := &sampler{h: h}
	return func() { h.hub.publish(statsEvents, "stats", m.sample()) }
}

// Observe passes an event to the streams.
func Observe(h *Handler, e ranch.Event) { h.hub.observe(e) }

// Tickets returns the number of tickets that have not been used.
func Tickets(h *Handler) int {
	h.logins.mu.Lock()
	defer h.logins.mu.Unlock()
	return len(h.logins.tickets)
}
