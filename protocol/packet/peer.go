package packet

import (
	"context"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// Peer is one connected client. Its methods, except AtEnd, may be called from any goroutine, also
// after the connection has ended.
type Peer struct {
	// State belongs to the user. It may be used without a lock by methods, hooks and functions
	// given to [Peer.Post], as they run one at a time. Other goroutines use Post.
	State any

	server *Server
	peer   *protocol.Peer
	began  time.Time
	limits limits
	atEnd  []func(error)

	// Statistics.
	last   atomic.Int64 // nanoseconds from began to the last frame
	frames atomic.Uint64
	bytes  atomic.Uint64
}

// Stats are statistics of a connection.
type Stats struct {
	Frames uint64 // frames received
	Bytes  uint64 // bytes of these frames, including their lengths
	// Age is the time since the connection was established.
	Age time.Duration
	// Idle is the time since the last frame, or Age before the first. A method sees the time since
	// the frame before its own.
	Idle time.Duration
}

func newPeer(s *Server, p *protocol.Peer) *Peer {
	return &Peer{server: s, peer: p, began: time.Now(), limits: newLimits(&s.opts)}
}

// Conn returns the connection, for its addresses, id, counters and TLS state.
func (p *Peer) Conn() *transport.Conn { return p.peer.Conn() }

// Context returns the connection's context, which is canceled when the connection is asked to end.
func (p *Peer) Context() context.Context { return p.peer.Context() }

// Stats returns the current statistics.
func (p *Peer) Stats() Stats {
	age := time.Since(p.began)
	return Stats{Frames: p.frames.Load(), Bytes: p.bytes.Load(), Age: age, Idle: age - time.Duration(p.last.Load())}
}

// Notify sends a notification. It does not wait for the client, unless Options.Queue says so. nil
// params are omitted. The error is an encoding error or one of [protocol.Peer.Send].
func (p *Peer) Notify(method string, params any) error {
	b, err := notification(method, params)
	if err != nil {
		return err
	}
	return p.peer.Send(b)
}

// Post queues f to run in turn with the methods and hooks of the connection, and does not wait. f
// does not run if the connection ends before its turn. Post returns [protocol.ErrMailboxFull] if
// 64 functions are queued, and [protocol.ErrEnded] if the connection has ended.
func (p *Peer) Post(f func(p *Peer)) error { return p.peer.Post(f) }

// Close ends the connection after the messages that are queued have been sent. It does not wait.
// err is passed to OnEnd and decides the reason of the end; nil is a normal end.
func (p *Peer) Close(err error) { p.peer.Close(err) }

// AtEnd registers f to be called exactly once when the connection has ended, before Options.OnEnd;
// the last registered function is called first. It must be called by a method, a hook or a
// function given to Post.
func (p *Peer) AtEnd(f func(err error)) { p.atEnd = append(p.atEnd, f) }
