package ranch

import (
	"fmt"
	"net"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// EventKind says what happened.
type EventKind uint8

const (
	ListenerStarted   EventKind = iota // Addr
	ListenerSuspended                  // Addr: no longer listened on
	ListenerResumed                    // Addr
	ListenerStopped                    // Err: protocols that did not end
	SocketReopened                     // Addr: the socket had been closed by somebody else
	AcceptorStarted                    // Acceptor
	AcceptorStopped                    // Acceptor
	AcceptorPanicked                   // Acceptor, Err; it is started again
	AcceptFailed                       // Err: first of an episode of failures
	AcceptRecovered                    // Duration of the episode: accept has not failed for a second since
	ConnStarted                        // Conn, before its handshake
	ConnEnded                          // Conn, Reason, Err, Served, Duration
	AlarmRaised                        // Alarm
	numEventKinds
)

var eventNames = [numEventKinds]string{
	"listener started", "listener suspended", "listener resumed", "listener stopped",
	"listening socket opened again", "acceptor started", "acceptor stopped", "acceptor panicked",
	"accept failed", "accept works again", "connection started", "connection ended", "alarm",
}

// String returns the kind in words, as logs show it.
func (k EventKind) String() string {
	if k < numEventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something that happened to a listener or a connection. Which fields are set
// stands with each kind; Kind and Ref always are.
type Event struct {
	Kind     EventKind
	Ref      string
	Addr     net.Addr
	Acceptor int // from 0
	Conn     *transport.Conn
	Reason   conns.Reason
	Served   bool // the protocol was called
	Err      error
	Duration time.Duration
	Alarm    *AlarmEvent
}

// Observer gets events, as they happen, in the goroutine in which they happen: it must
// be quick, and ready to be called by several at once. Its panics are logged.
type Observer interface {
	Observe(Event)
}

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(Event)

// Observe calls f.
func (f ObserverFunc) Observe(e Event) { f(e) }
