package adminhttp

import (
	"encoding/json"
	"runtime"
	"strconv"
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

	// HandshakeP99 is the time, in seconds, within which 99 % of the handshakes since the previous
	// sample were completed: null if there were none, absent if there have never been any.
	HandshakeP99 json.RawMessage `json:"handshake_p99,omitempty"`
}

// sampler makes samples. One goroutine uses it.
type sampler struct {
	h          *Handler
	handshakes map[*ranch.Listener]conns.Histogram // at the previous sample
}

func (m *sampler) sample() sample {
	s := sample{
		Time: float64(time.Now().UnixMilli()) / 1000, Goroutines: runtime.NumGoroutine(), Streams: m.h.hub.count(), Listeners: []listenerSample{},
	}
	handshakes := map[*ranch.Listener]conns.Histogram{} // without listeners that have stopped
	for _, l := range m.h.opts.Server.Listeners() {
		v := newListenerSample(l)
		all := l.Durations().Handshake
		if all.Count > 0 {
			since := all.Since(m.handshakes[l])
			v.HandshakeP99 = json.RawMessage("null")
			if since.Count > 0 {
				v.HandshakeP99 = strconv.AppendFloat(nil, since.Quantile(0.99).Seconds(), 'g', 4, 64)
			}
			handshakes[l] = all
		}
		s.Listeners = append(s.Listeners, v)
	}
	m.handshakes = handshakes
	return s
}

func newListenerSample(l *ranch.Listener) listenerSample {
	i := l.Info()
	s := listenerSample{
		Name: i.Ref, Status: string(i.Status), Transport: i.Transport,
		Active: i.ActiveConnections, All: i.AllConnections, Peak: i.PeakConnections, Pending: i.PendingConnections, Handshakes: i.Handshakes,
		Accepted: i.Accepted, Ended: i.Terminated, Refused: i.Refused, HandshakeFailed: i.HandshakeFailed, AcceptErrors: i.AcceptErrors,
		Read: i.BytesRead, Written: i.BytesWritten,
	}
	if i.Addr != nil {
		s.Addr = listenaddr.String(i.Addr)
	}
	if i.MaxConnections != ranch.Unlimited {
		s.Cap = &i.MaxConnections
	}
	return s
}
