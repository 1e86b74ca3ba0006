package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kinds of events, which the parameter kinds selects.
const (
	statsEvents      = "stats"       // the state of the listeners, at each interval
	listenerEvents   = "listeners"   // a listener has started, an alarm was raised, ...
	connectionEvents = "connections" // a connection has started or ended
)

var eventKinds = []string{statsEvents, listenerEvents, connectionEvents}

// heartbeat is the interval of comments in a stream without events: a write to a client that is
// gone fails.
const heartbeat = 15 * time.Second

var (
	errTooManyStreams = errors.New("too many event streams are open")
	errClientStreams  = errors.New("you have too many event streams open")
)

// serveEvents streams events until the client disconnects, its login ends, or the handler is
// closed.
func (h *Handler) serveEvents(w http.ResponseWriter, r *request) {
	kinds := []string{statsEvents, listenerEvents}
	if v := r.URL.Query().Get("kinds"); v != "" {
		kinds = strings.Split(v, ",")
	}
	for _, k := range kinds {
		if !slices.Contains(eventKinds, k) {
			refuse(w, http.StatusBadRequest, fmt.Errorf("parameter kinds %.100q: allowed are %s", k, strings.Join(eventKinds, ", ")))
			return
		}
	}
	s, err := h.hub.open(kinds, r.clientName())
	if err != nil {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer h.hub.close(s)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	if !r.expires.IsZero() {
		var end context.CancelFunc
		ctx, end = context.WithDeadline(ctx, r.expires)
		defer end()
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // disables the response buffer of nginx
	w.WriteHeader(http.StatusOK)
	s.send(ctx, w, rc)
}

// send writes events as they arrive, until ctx ends or a write fails. A comment at the start sends
// the header of the answer at once.
func (s *stream) send(ctx context.Context, w http.ResponseWriter, rc *http.ResponseController) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	next := []byte(": events\n\n")
	for {
		rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(next); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
		for next = nil; next == nil; {
			select {
			case <-ctx.Done():
				return
			case <-s.ready:
				next = s.take()
			case <-tick.C:
				next = []byte(": \n\n")
			}
		}
	}
}
