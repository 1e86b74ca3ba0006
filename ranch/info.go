package ranch

import (
	"net"

	"goranch/conns"
	"goranch/internal/backlog"
	"goranch/protocol"
)

// Status is the status of a listener.
type Status string

const (
	Starting  Status = "starting" // not listening yet
	Running   Status = "running"
	Suspended Status = "suspended" // not listening; its connections continue
	Draining  Status = "draining"  // about to stop, and still accepting; see Options.DrainDelay
	Stopping  Status = "stopping"  // not listening; waiting for its connections to end
	Stopped   Status = "stopped"
)

// ListenerInfo describes a listener at one instant.
type ListenerInfo struct {
	Ref       string
	Status    Status
	Transport string
	Protocol  protocol.Protocol // of connections that are accepted from now on
	Addr      net.Addr          // to which it is bound, or was bound last; nil before the start

	// In force; see SetOptions for changes that wait for a resume.
	NumAcceptors     int
	NumListenSockets int

	MaxConnections     int // the cap, or Unlimited
	ActiveConnections  int // counted by the cap
	AllConnections     int // also those removed by RemoveConnection, and those about to end
	PeakConnections    int // the highest ActiveConnections so far
	WaitingAcceptors   int // acceptors that wait for a slot
	PendingConnections int // accepted without a slot: waiting for one, or being refused
	Handshakes         int // in progress
	Addresses          int // source addresses in the table of the limits per address

	// Accepted = Terminated + AllConnections.
	Accepted   uint64
	Terminated uint64 // Served + HandshakeFailed + Refused

	Served          uint64 // the protocol was called and has returned
	HandshakeFailed uint64 // ended before the protocol was called
	Refused         uint64 // during a stop, at the cap, by a rule of Networks, or by another limit

	Reasons map[conns.Reason]uint64 // Terminated by reason; reasons without connections are absent

	AcceptErrors uint64 // failed calls of accept

	// HandshakeFailures is HandshakeFailed by cause; causes without connections are absent.
	HandshakeFailures map[conns.HandshakeFailure]uint64

	// AllConnections by state: in the handshake or waiting for it, served, served and idle without
	// a goroutine, and asked to stop.
	Handshaking, Serving, Parked, Ending int

	// Unestablished is how many of them are served and in the login phase; 0 unless LoginTimeout or
	// MaxUnestablished is set.
	Unestablished int

	// BytesRead and BytesWritten are the payload of all connections, also of those that have ended.
	// They never decrease. What transport.Stats does not count is not included.
	BytesRead, BytesWritten uint64

	// AcceptQueue is the number of connections that wait in the kernel to be accepted, on all
	// sockets, and AcceptQueueLimit how many may wait. Both are -1 where the kernel does not report
	// them, which is everywhere but for TCP on Linux, and while the listener is not listening.
	AcceptQueue, AcceptQueueLimit int

	Drain *DrainInfo // nil: no drain has begun
}

// Info describes the listener at this instant. It visits every live connection, which takes about a
// millisecond for 10,000.
func (l *Listener) Info() ListenerInfo {
	l.mu.Lock()
	opts, status, addr, t, drain := l.opts, l.status, l.addr, l.transport, l.drainInfo()
	if a := l.acceptors; a != nil { // in force
		opts.NumAcceptors, opts.NumListenSockets, t = a.n, len(a.sockets), a.t
	}
	a := l.acceptors
	l.mu.Unlock()
	c, g := l.sup.Counters(), l.gate.State()
	info := ListenerInfo{
		Ref: l.ref, Status: status, Transport: t.Name(), Protocol: l.target.Load().protocol, Addr: addr,
		NumAcceptors: opts.NumAcceptors, NumListenSockets: opts.NumListenSockets,
		MaxConnections: g.Limit, ActiveConnections: g.Used, AllConnections: c.Live,
		PeakConnections: g.Peak, WaitingAcceptors: g.WaitingAcceptors,
		PendingConnections: int(l.pending.Load()), Handshakes: c.Handshakes, Addresses: c.Addresses,
		Accepted: c.Accepted, Terminated: c.Served + c.HandshakeFailed + c.Refused,
		Served: c.Served, HandshakeFailed: c.HandshakeFailed, Refused: c.Refused,
		Reasons: make(map[conns.Reason]uint64), AcceptErrors: l.acceptErrors.Load(), Drain: drain,
		HandshakeFailures: make(map[conns.HandshakeFailure]uint64),
		Handshaking:       c.Handshaking, Serving: c.Serving, Parked: c.Parked, Ending: c.Ending,
		Unestablished: c.Unestablished,
		BytesRead:     c.BytesRead, BytesWritten: c.BytesWritten,
	}
	info.AcceptQueue, info.AcceptQueueLimit = a.queue()
	for f, n := range c.HandshakeFailures {
		if n > 0 {
			info.HandshakeFailures[conns.HandshakeFailure(f)] = n
		}
	}
	for r, n := range c.Ended {
		if n > 0 {
			info.Reasons[conns.Reason(r)] = n
		}
	}
	return info
}

// queue returns the number of connections in the kernel's queues and the length of these; -1 if
// that is not known of every socket. a may be nil.
func (a *acceptors) queue() (n, limit int) {
	if a == nil {
		return -1, -1
	}
	for _, s := range a.sockets {
		waiting, most, err := backlog.Length(s.listener())
		if err != nil {
			return -1, -1
		}
		n, limit = n+waiting, limit+most
	}
	return n, limit
}

// Durations returns the distributions of the times of connections since the listener was created.
func (l *Listener) Durations() conns.Durations { return l.sup.Durations() }

// Sources returns the source addresses of the live connections that q selects; see
// [conns.Supervisor.Sources].
func (l *Listener) Sources(q conns.Query) []conns.Source { return l.sup.Sources(q) }
