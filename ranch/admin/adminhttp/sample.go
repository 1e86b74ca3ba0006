package adminhttp

import (
	"runtime"
	"time"

	"goranch/conns"
	"goranch/internal/listenaddr"
	"goranch/ranch"
)

// sample is the state of the server in an event "stats". Numbers that only grow are counters, of
// which clients compute rates.
type sample struct {
	Time       float64          `json:"time"` // seconds since 1970
	Goroutines int              `json:"goroutines"`
	Streams    int              `json:"streams"` // event streams
	Listeners  []listenerSample `json:"listeners"`
}

type listenerSample struct {
	Name      string `json:"name"`
	Status    string `json:"status"`
	Addr      string `json:"addr"`
	Transport string `json:"transport"`

	Active     int  `json:"active"`
	All        int  `json:"all"`
	Cap        *int `json:"cap"` // null: unlimited
	Peak       int  `json:"peak"`
	Pending    int  `json:"pending"`
	Handshakes int  `json:"handshakes"`

	Accepted        uint64 `json:"accepted"`
	Ended           uint64 `json:"ended"`
	Refused         uint64 `json:"refused"`
	HandshakeFailed uint64 `json:"handshake_failed"`
	AcceptErrors    uint64 `json:"accept_errors"`
	Read            uint64 `json:"read"` // bytes
	Written         uint64 `json:"written"`
}

func (h *Handler) sample() sample {
	s := sample{
		Time: float64(time.Now().UnixMilli()) / 1000, Goroutines: runtime.NumGoroutine(), Streams: h.hub.count(), Listeners: []listenerSample{},
	}
	for _, l := range h.opts.Server.Listeners() {
		s.Listeners = append(s.Listeners, h.listenerSample(l))
	}
	return s
}

func (h *Handler) listenerSample(l *ranch.Listener) listenerSample {
	i := l.Info()
	s := listenerSample{
		Name: i.Ref, Status: string(i.Status), Transport: i.Transport,
		Active: i.ActiveConnections, All: i.AllConnections, Peak: i.PeakConnections, Pending: i.PendingConnections, Handshakes: i.Handshakes,
		Accepted: i.Accepted, Ended: i.Terminated, Refused: i.Refused, HandshakeFailed: i.HandshakeFailed, AcceptErrors: i.AcceptErrors,
	}
	if i.Addr != nil {
		s.Addr = listenaddr.String(i.Addr)
	}
	if i.MaxConnections != ranch.Unlimited {
		s.Cap = &i.MaxConnections
	}
	s.Read, s.Written = h.traffic(l)
	return s
}

// traffic returns the bytes that a listener has received and sent, of live connections and of those
// that have ended since Observe was first called.
func (h *Handler) traffic(l *ranch.Listener) (read, written uint64) {
	read, written = h.hub.ended(l.Ref())
	l.Select(conns.Query{Limit: 1, Match: func(i *conns.Info) bool {
		read += i.Stats.BytesRead
		written += i.Stats.BytesWritten
		return false // the result is not used
	}})
	return read, written
}
