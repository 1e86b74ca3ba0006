package ranch

import (
	"net"

	"goranch/conns"
)

// Status is what a listener is doing.
type Status string

const (
	Starting  Status = "starting" // made, not listening yet
	Running   Status = "running"
	Suspended Status = "suspended" // not listening; its connections live on
	Stopping  Status = "stopping"  // waiting for its connections to end
	Stopped   Status = "stopped"
)

// ListenerInfo is a listener at one instant.
type ListenerInfo struct {
	Ref       string
	Status    Status
	Transport string
	Addr      net.Addr // where it is bound, or was; nil before the start

	// In force, and not what waits for a resume.
	NumAcceptors     int
	NumListenSockets int

	MaxConnections    int // Unlimited if there is no cap
	ActiveConnections int // counted by the cap
	AllConnections    int // with those that RemoveConnection took out of the count, and those about to end
	PeakConnections   int // the most that were active at once
	ParkedAcceptors   int // acceptors that wait for the count to fall below the cap
	HeldConnections   int // accepted, but without a slot: they wait for one, or are being refused
	Handshakes        int // in progress
	Sources           int // addresses that are limited and remembered

	// Accepted = Terminated + AllConnections.
	Accepted   uint64
	Terminated uint64 // Served + HandshakeFailed + Refused

	Served          uint64 // their protocol was called, and has returned
	HandshakeFailed uint64 // ended before that
	Refused         uint64 // turned away: while stopping, at the cap, or for a limit of their address

	Reasons map[conns.Reason]uint64 // how connections ended; reasons that did not occur are absent

	AcceptErrors uint64 // calls of accept that failed, whatever came of it
}

// Info returns what the listener is and has done.
func (l *Listener) Info() ListenerInfo {
	l.state.Lock()
	opts, status, addr, t := l.opts, l.status, l.addr, l.transport
	if a := l.acceptors; a != nil { // in force, whatever waits for a resume
		opts.NumAcceptors, opts.NumListenSockets, t = a.n, len(a.sockets), a.t
	}
	l.state.Unlock()
	c, g := l.sup.Counters(), l.gate.State()
	info := ListenerInfo{
		Ref: l.ref, Status: status, Transport: t.Name(), Addr: addr,
		NumAcceptors: opts.NumAcceptors, NumListenSockets: opts.NumListenSockets,
		MaxConnections: g.Limit, ActiveConnections: g.Used, AllConnections: c.Live,
		PeakConnections: g.Peak, ParkedAcceptors: g.Waiting,
		HeldConnections: int(l.holding.Load()), Handshakes: l.sup.Handshakes(), Sources: l.sup.Sources(),
		Accepted: c.Accepted, Terminated: c.Served + c.HandshakeFailed + c.Refused,
		Served: c.Served, HandshakeFailed: c.HandshakeFailed, Refused: c.Refused,
		Reasons: make(map[conns.Reason]uint64), AcceptErrors: l.acceptErrors.Load(),
	}
	for r, n := range c.Ended {
		if n > 0 {
			info.Reasons[conns.Reason(r)] = n
		}
	}
	return info
}
