package ranch

import (
	"net"

	"goranch/conns"
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
	WaitingAcceptors   int // acceptors and pending connections that wait for a slot
	PendingConnections int // accepted without a slot: waiting for one, or being refused
	Handshakes         int // in progress
	Addresses          int // source addresses in the table of the limits per address

	// Accepted = Terminated + AllConnections.
	Accepted   uint64
	Terminated uint64 // Served + HandshakeFailed + Refused

	Served          uint64 // the protocol was called and has returned
	HandshakeFailed uint64 // ended before the protocol was called
	Refused         uint64 // during a stop, at the cap, or by a limit per address

	Reasons map[conns.Reason]uint64 // Terminated by reason; reasons without connections are absent

	AcceptErrors uint64 // failed calls of accept

	Drain *DrainInfo // nil: no drain has begun
}

// Info describes the listener at this instant.
func (l *Listener) Info() ListenerInfo {
	l.mu.Lock()
	opts, status, addr, t, drain := l.opts, l.status, l.addr, l.transport, l.drainInfo()
	if a := l.acceptors; a != nil { // in force
		opts.NumAcceptors, opts.NumListenSockets, t = a.n, len(a.sockets), a.t
	}
	l.mu.Unlock()
	c, g := l.sup.Counters(), l.gate.State()
	info := ListenerInfo{
		Ref: l.ref, Status: status, Transport: t.Name(), Protocol: l.target.Load().protocol, Addr: addr,
		NumAcceptors: opts.NumAcceptors, NumListenSockets: opts.NumListenSockets,
		MaxConnections: g.Limit, ActiveConnections: g.Used, AllConnections: c.Live,
		PeakConnections: g.Peak, WaitingAcceptors: g.Waiting,
		PendingConnections: int(l.pending.Load()), Handshakes: c.Handshakes, Addresses: c.Addresses,
		Accepted: c.Accepted, Terminated: c.Served + c.HandshakeFailed + c.Refused,
		Served: c.Served, HandshakeFailed: c.HandshakeFailed, Refused: c.Refused,
		Reasons: make(map[conns.Reason]uint64), AcceptErrors: l.acceptErrors.Load(), Drain: drain,
	}
	for r, n := range c.Ended {
		if n > 0 {
			info.Reasons[conns.Reason(r)] = n
		}
	}
	return info
}
