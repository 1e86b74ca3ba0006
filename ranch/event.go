package ranch

import (
	"net"
	"runtime/debug"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// EventKind is the kind of an [Event], as in log messages.
type EventKind string

// The comment of each kind names the fields of its events besides Kind and Ref.
const (
	ListenerStarted   EventKind = "listener started"          // Addr
	ListenerSuspended EventKind = "listener suspended"        // Addr, where it no longer listens
	ListenerResumed   EventKind = "listener resumed"          // Addr
	ListenerDraining  EventKind = "listener draining"         // Addr; Duration: it accepts for this long
	ListenerStopped   EventKind = "listener stopped"          // Addr; Err: stuck protocols
	SocketReopened    EventKind = "listening socket reopened" // Addr; other code had closed it
	AcceptorStarted   EventKind = "acceptor started"          // Acceptor
	AcceptorStopped   EventKind = "acceptor stopped"          // Acceptor
	AcceptorPanicked  EventKind = "acceptor panicked"         // Acceptor, Err; the acceptor is restarted
	AcceptFailed      EventKind = "accept failed"             // Addr, Err: an episode of failures begins
	AcceptRecovered   EventKind = "accept recovered"          // Addr, Duration of the episode
	ConnStarted       EventKind = "connection started"        // Conn, before its handshake
	ConnEnded         EventKind = "connection ended"          // Conn, Reason, Err, Served, Duration, Handshake
	AlarmRaised       EventKind = "alarm"                     // Alarm
)

// Event is something that happened to a listener or to a connection.
type Event struct {
	Kind     EventKind
	Ref      string // the name of the listener
	Addr     net.Addr
	Acceptor int // from 0
	Conn     *transport.Conn
	Reason   conns.Reason
	Served   bool // the protocol was called
	Err      error
	Duration time.Duration
	// Handshake is the beginning of Duration until the protocol was called, or all of it if it was
	// not. It is 0 if the transport has no handshake.
	Handshake time.Duration
	Alarm     *AlarmEvent
}

// recovered is deferred for calls of observers, loggers and alarm callbacks. It logs their panics,
// which must not end the connection.
func (l *Listener) recovered(e *Event) {
	if v := recover(); v != nil {
		l.logPanic(e, v, debug.Stack())
	}
}

// logPanic logs a panic. The logger itself may have panicked.
func (l *Listener) logPanic(e *Event, v any, stack []byte) {
	defer func() { _ = recover() }()
	l.log.Error("callback panicked", "listener", l.ref, "event", string(e.Kind), "panic", v, "stack", string(stack))
}
