// Package web provides an HTTP handler that connects browsers to a topic server (package pubsub)
// by WebSockets and server-sent events, and serves a page for trying both.
//
//	gw, err := web.NewGateway(web.Options{Dial: func(ctx context.Context) (net.Conn, error) {
//		return mem.Dial(ctx, "topics")
//	}})
//	…
//	http.Handle("/topics/", http.StripPrefix("/topics", gw))
//
// Each WebSocket and each event stream is a client of the topic server with a connection of its
// own, which needs no socket if Options.Dial uses an in-memory transport. The server's sessions,
// limits, authorization and counters apply to it as to any client.
//
// "/" is the page, "/ws" the WebSocket, and "/events?topic=a&topic=b.*" a stream of server-sent
// events. docs/topics.md describes their messages, and what happens when a browser reconnects.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/weborigin"
)

// errShutdown ends connections when the gateway is shut down.
var errShutdown = errors.New("the server is shutting down")

// Gateway is an [http.Handler] that connects browsers to a topic server. All methods may be called
// from any goroutine.
type Gateway struct {
	opts   Options
	policy weborigin.Policy
	mux    *http.ServeMux
	ctx    context.Context // ends with Shutdown
	stop   context.CancelCauseFunc

	mu       sync.Mutex
	browsers int
	drained  chan struct{} // closed after Shutdown when no browser is connected
	stats    Stats

	queued     budget // data that waits for browsers
	incomplete budget // messages of browsers that have not arrived completely
	replays    replayTable
	shared     sharedFrames
}

// budget limits memory that browsers use together, in bytes. A negative limit is none.
type budget struct {
	limit int64
	used  atomic.Int64
}

// guaranteed is what each browser may use of a budget in any case.
const guaranteed = 16 << 10

// charge adds n bytes, with which one browser uses own. It reports false if these are too many.
func (b *budget) charge(n, own int) bool {
	used := b.used.Add(int64(n))
	return b.limit < 0 || used <= b.limit || own <= guaranteed
}

func (b *budget) release(n int) { b.used.Add(-int64(n)) }

// Stats holds the counters of a [Gateway] since it was created, and its current size.
type Stats struct {
	Browsers   int    // connected now, by WebSocket or event stream
	WebSockets uint64 // WebSockets served
	Streams    uint64 // event streams served
	Resumed    uint64 // event streams that resumed a session
	Refused    uint64 // requests refused, for any reason
	Slow       uint64 // connections closed because the browser read too slowly
}

// NewGateway returns a gateway. The error joins all faults of the options.
func NewGateway(opts Options) (*Gateway, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	g := &Gateway{opts: opts.withDefaults(), mux: http.NewServeMux()}
	g.policy = weborigin.Policy{Origins: opts.Origins, Hosts: opts.Hosts, OriginFlag: " (ranchd --allowed-origin)", HostFlag: " (ranchd --allowed-host)"}
	g.shared.seed = maphash.MakeSeed()
	g.queued.limit = int64(g.opts.MaxBufferedTotal)
	g.incomplete.limit = int64(g.opts.MaxBufferedTotal) / 4
	if g.queued.limit < 0 {
		g.incomplete.limit = -1
	}
	g.ctx, g.stop = context.WithCancelCause(context.Background())
	g.mux.HandleFunc("GET /ws", g.admit(g.serveWebSocket))
	g.mux.HandleFunc("GET /events", g.admit(g.serveEvents))
	if !opts.NoPage {
		g.servePage()
	}
	return g, nil
}

// ServeHTTP serves one of the gateway's paths. It returns when an event stream has ended, but while
// a WebSocket is open, so that net/http can free what it holds for the request. Shutdown waits for
// both.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.policy.CheckHost(r); err != nil {
		g.refuse(w, http.StatusForbidden, err)
		return
	}
	if r.ContentLength != 0 {
		// net/http would wait for the body when this request has been answered.
		w.Header().Set("Connection", "close")
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		g.refuse(w, http.StatusRequestEntityTooLarge, errors.New("a body is not allowed"))
		return
	}
	g.mux.ServeHTTP(w, r)
}

// bodyTime limits how long net/http reads the body of a refused request.
const bodyTime = time.Second

type browserAddrKey struct{}

// BrowserAddr returns the address of the browser for which Options.Dial is called with ctx, nil if
// it has no IP address.
func BrowserAddr(ctx context.Context) net.Addr {
	addr, _ := ctx.Value(browserAddrKey{}).(net.Addr)
	return addr
}

// withBrowserAddr returns the context for Options.Dial.
func withBrowserAddr(ctx context.Context, r *http.Request) context.Context {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, browserAddrKey{}, net.TCPAddrFromAddrPort(ap))
}

// Stats returns the current counters.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Browsers = g.browsers
	return s
}

func (g *Gateway) count(update func(*Stats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	update(&g.stats)
}

// Shutdown refuses new browsers, closes the connected ones with a reason, and waits until they are
// disconnected. The error is the cause of ctx. Call it before [http.Server.Shutdown], which would
// wait for event streams, and would not wait for WebSockets.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.stop(errShutdown)
	if g.drained == nil {
		g.drained = make(chan struct{})
		if g.browsers == 0 {
			close(g.drained)
		}
	}
	drained := g.drained
	g.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// admit wraps a handler with the checks of origin, authorization and MaxBrowsers. The handler calls
// removeBrowser.
func (g *Gateway) admit(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := g.policy.CheckOrigin(r); err != nil {
			g.refuse(w, http.StatusForbidden, err)
			return
		}
		if err := g.opts.Authorize(r); err != nil {
			status := http.StatusForbidden
			if errors.Is(err, ErrUnauthenticated) {
				status = http.StatusUnauthorized
			}
			g.refuse(w, status, err)
			return
		}
		if err := g.addBrowser(); err != nil {
			w.Header().Set("Retry-After", "5")
			g.refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		serve(w, r)
	}
}

func (g *Gateway) addBrowser() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ctx.Err() != nil:
		return errShutdown
	case g.opts.MaxBrowsers >= 0 && g.browsers >= g.opts.MaxBrowsers:
		return errors.New("too many browsers are connected")
	}
	g.browsers++
	return nil
}

func (g *Gateway) removeBrowser() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.browsers--
	if g.browsers == 0 && g.drained != nil {
		close(g.drained)
	}
}

// refuse answers with an error as JSON.
func (g *Gateway) refuse(w http.ResponseWriter, status int, err error) {
	g.count(func(s *Stats) { s.Refused++ })
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
