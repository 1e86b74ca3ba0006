// Package web brings topics (package pubsub) to browsers, over WebSockets and server-sent events, with a
// page to try them.
//
//	gw, err := web.Handler(web.Options{Dial: func(ctx context.Context) (net.Conn, error) {
//		return mem.Dial(ctx, "topics")
//	}})
//	…
//	http.Handle("/topics/", http.StripPrefix("/topics", gw))
//
// Each browser is a client of the topic server with a connection of its own, in memory if Dial has it so:
// sessions, limits, authorisation and counters hold for it as for any.
//
// # Paths
//
//   - "/" is the page, with "/page.js" and "/page.css".
//   - "/ws" is the WebSocket: text messages both ways, each one JSON object of the wire protocol, without what
//     ends frames there. {"ack":true} stands for ACK; heartbeats are pings of the WebSocket.
//   - "/events?topic=a&topic=b.*&last=1&history=5" are server-sent events.
//
// # Events
//
// Messages are events of the default type, their data as on the wire. Each has an id, with which a browser
// that comes back (Last-Event-ID) goes on where it was: the session is attached to, and what the browser had
// not got before the connection broke is sent again. The id holds the session's token; it is a secret.
// An event "session" comes first: {"resumed":true}, or false if the session is a new one. "notice" tells of
// messages that were dropped, and "refused" of why the stream ends.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
)

// ErrShutdown is why connections end when the gateway is shut down.
var ErrShutdown = errors.New("the server is shutting down")

// Gateway serves browsers. It is a [http.Handler], and may be called from any goroutine.
type Gateway struct {
	opts Options
	mux  *http.ServeMux
	ctx  context.Context
	stop context.CancelCauseFunc

	mu       sync.Mutex
	browsers int
	idle     chan struct{} // closed when the last one has gone after Shutdown
	trails   trails
	stats    Stats
}

// Stats are counters since the gateway was made, and what is.
type Stats struct {
	Browsers   int    // connected
	WebSockets uint64 // served
	Streams    uint64 // of events, served
	Resumed    uint64 // of those, with the session there was
	Refused    uint64 // requests that were not served, whatever the reason
	Slow       uint64 // connections that have ended because the browser did not keep up
}

// Handler returns a handler. The error joins all faults of the options.
func Handler(opts Options) (*Gateway, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	g := &Gateway{opts: opts.withDefaults(), mux: http.NewServeMux()}
	g.ctx, g.stop = context.WithCancelCause(context.Background())
	g.mux.HandleFunc("GET /ws", g.admit(g.serveWebSocket))
	g.mux.HandleFunc("GET /events", g.admit(g.serveEvents))
	if !opts.NoPage {
		g.servePage()
	}
	return g, nil
}

// ServeHTTP serves a request by its path. It returns when a WebSocket or a stream of events has ended.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// Stats returns what has happened so far.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Browsers = g.browsers
	return s
}

func (g *Gateway) count(f func(*Stats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.stats)
}

// Shutdown refuses new browsers, tells those that are connected to go, and returns when they have. The error
// is the cause of ctx. It comes before the Shutdown of a [http.Server], which would wait for streams, and not
// for WebSockets.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.stop(ErrShutdown)
	if g.idle == nil {
		g.idle = make(chan struct{})
		if g.browsers == 0 {
			close(g.idle)
		}
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// admit lets a browser in, if it may, and counts it.
func (g *Gateway) admit(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !g.allowed(r) {
			g.refuse(w, http.StatusForbidden, errors.New("pages of this origin may not connect"))
			return
		}
		if err := g.opts.Authorize(r); err != nil {
			status := http.StatusForbidden
			if errors.Is(err, ErrLogin) {
				status = http.StatusUnauthorized
			}
			g.refuse(w, status, err)
			return
		}
		if err := g.enter(); err != nil {
			w.Header().Set("Retry-After", "5")
			g.refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		defer g.leave()
		serve(w, r)
	}
}

func (g *Gateway) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ctx.Err() != nil:
		return ErrShutdown
	case g.opts.MaxBrowsers >= 0 && g.browsers >= g.opts.MaxBrowsers:
		return errors.New("too many browsers")
	}
	g.browsers++
	return nil
}

func (g *Gateway) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.browsers--
	if g.browsers == 0 && g.idle != nil {
		close(g.idle)
	}
}

// refuse answers with an error, in JSON.
func (g *Gateway) refuse(w http.ResponseWriter, status int, err error) {
	g.count(func(s *Stats) { s.Refused++ })
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
