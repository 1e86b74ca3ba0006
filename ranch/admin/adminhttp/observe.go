package adminhttp

import (
	"time"

	"goranch/internal/listenaddr"
	"goranch/internal/termtext"
	"goranch/ranch"
)

// event is an event "listener" or "connection". Members that do not apply are absent.
type event struct {
	Time     time.Time `json:"time"`
	Listener string    `json:"listener"`
	Kind     string    `json:"kind"`
	Addr     string    `json:"addr,omitempty"`
	Error    string    `json:"error,omitempty"`

	ID       uint64   `json:"id,omitempty"`
	Peer     string   `json:"peer,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Served   *bool    `json:"served,omitempty"`
	Duration *float64 `json:"duration,omitempty"` // seconds
	Read     *uint64  `json:"read,omitempty"`     // bytes
	Written  *uint64  `json:"written,omitempty"`

	Alarm       string `json:"alarm,omitempty"`
	Connections int    `json:"connections,omitempty"`
	Descriptors int    `json:"descriptors,omitempty"`
}

// observe is called for every event of a listener while there is a stream, in the goroutine in
// which it happens.
func (b *hub) observe(e ranch.Event) {
	switch e.Kind {
	case ranch.AcceptorStarted, ranch.AcceptorStopped:
		return
	case ranch.ConnStarted, ranch.ConnEnded:
		if b.connStreams.Load() > 0 {
			b.publish(connectionEvents, "connection", newEvent(&e))
		}
		return
	}
	b.publish(listenerEvents, "listener", newEvent(&e))
}

func newEvent(e *ranch.Event) event {
	v := event{Time: time.Now(), Listener: e.Ref, Kind: string(e.Kind)}
	if e.Addr != nil {
		v.Addr = listenaddr.String(e.Addr)
	}
	if e.Err != nil {
		v.Error = termtext.Line(e.Err.Error())
	}
	if e.Conn != nil {
		v.ID, v.Peer = e.Conn.ID(), listenaddr.String(e.Conn.RemoteAddr())
	}
	if e.Kind == ranch.ConnEnded {
		st, d := e.Conn.Stats(), e.Duration.Seconds()
		v.Reason, v.Served, v.Duration, v.Read, v.Written = e.Reason.Error(), &e.Served, &d, &st.BytesRead, &st.BytesWritten
	}
	if a := e.Alarm; a != nil {
		v.Alarm, v.Connections, v.Descriptors = a.Name, a.Connections, a.Descriptors
	}
	return v
}
