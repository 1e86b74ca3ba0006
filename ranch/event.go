package ranch

import (
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// EventKind is the kind of an event.
type EventKind uint8

const (
	ListenerStarted   EventKind = iota // Addr
	ListenerSuspended                  // Addr, which is closed
	ListenerResumed                    // Addr
	ListenerStopped                    // Err: protocols that have not returned
	SocketReopened                     // Addr; the socket was closed by other code
	AcceptorStarted                    // Acceptor
	AcceptorStopped                    // Acceptor
	AcceptorPanicked                   // Acceptor, Err; it is restarted
	AcceptFailed                       // Addr, Err: the first of an episode of failures
	AcceptRecovered                    // Addr, Duration of the episode; accept has not failed for a second
	ConnStarted                        // Conn, before its handshake
	ConnEnded                          // Conn, Reason, Err, Served, Duration
	AlarmRaised                        // Alarm
	numEventKinds
)

var eventNames = [numEventKinds]string{
	"listener started", "listener suspended", "listener resumed", "listener stopped",
	"listening socket reopened", "acceptor started", "acceptor stopped", "acceptor panicked",
	"accept failed", "accept recovered", "connection started", "connection ended", "alarm",
}

// String returns the kind in words, as logs show it.
func (k EventKind) String() string {
	if k < numEventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something that happened to a listener or a connection. Kind and Ref are always set; the
// comment of each kind names the other fields that are.
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

// Observer is called with events as they happen, in the goroutine in which they happen, by several
// at once. It must be quick. Its panics are logged.
type Observer func(Event)

// emit reports an event to the logger and the observer.
func (l *Listener) emit(e Event) {
	e.Ref = l.ref
	for _, o := range l.observers {
		l.observe(o, e)
	}
}

// observe calls an observer, whose panic must not end the connection.
func (l *Listener) observe(o Observer, e Event) {
	defer func() {
		if v := recover(); v != nil {
			l.logPanic(e, v, debug.Stack())
		}
	}()
	o(e)
}

// logPanic logs the panic of an observer. The logger itself may have panicked.
func (l *Listener) logPanic(e Event, v any, stack []byte) {
	defer func() { _ = recover() }()
	l.log.Error("an observer panicked", "listener", l.ref, "event", e.Kind.String(), "panic", v, "stack", string(stack))
}
