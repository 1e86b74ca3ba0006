// Package conns is who is connected: a [Gate] that holds the cap, and a [Supervisor]
// that runs a protocol on each connection, knows them all, and ends them in order.
//
// An acceptor works like this; package ranch has the whole of it:
//
//	for {
//		if err := gate.Reserve(ctx); err != nil { // parks at the cap
//			return err
//		}
//		nc, err := ln.Accept()
//		if err != nil {
//			gate.Cancel()
//			…
//		}
//		if err := gate.Confirm(ctx); err != nil { // waits only if the cap was lowered
//			sup.Refuse(t, nc)
//			return err
//		}
//		sup.Start(base, t, nc, p) // the slot is the supervisor's now
//	}
//
// # Locks
//
// The gate has one mutex, held for a few instructions. Connections are spread over
// shards with a mutex each, taken when one begins and when it ends. No method holds two
// locks, calls a user's function with one held, or takes one per read or write.
package conns

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// Config is what a [Supervisor] needs to know. It is not changed after New.
type Config struct {
	// Gate gets its slots back from the supervisor. It must not be nil.
	Gate *Gate
	// Limits are those in force at the beginning; see [Supervisor.SetLimits].
	Limits Limits
	// KeepEnded is how many connections are remembered after their end, for
	// [Supervisor.Ended]. 0 is 100; a negative number is none.
	KeepEnded int
	// Started is called when a connection has been registered, before its handshake, and
	// Ended when it is gone. Both are called in the connection's goroutine; nil is fine.
	Started func(*transport.Conn)
	Ended   func(End)
}

// End tells of a connection that is gone.
type End struct {
	Conn     *transport.Conn // closed; for its addresses and counters
	Reason   Reason
	Err      error // what the protocol, or the handshake, returned
	Served   bool  // the handshake was completed and the protocol called
	Duration time.Duration
}

// Supervisor runs connections. Its methods may be called from any goroutine.
type Supervisor struct {
	cfg        Config
	began      time.Time // see now
	limits     atomic.Pointer[Limits]
	handshakes *Gate // those in progress
	sources    sources
	traces     traces
	shards     []shard
}

// shard is a part of the connections, with their counters under the same lock: each sum
// over the shards is exact.
type shard struct {
	mu       sync.Mutex
	stopping bool
	live     []*connection
	counts   Counters
	ended    ring
	running  sync.WaitGroup // connections that have not returned from their goroutine
	_        [64]byte       // a cache line between neighbours
}

// Counters counts connections since the supervisor began. At every moment
// Accepted = Served + HandshakeFailed + Refused + Live.
type Counters struct {
	Accepted        uint64
	Served          uint64 // the protocol was called and has returned
	HandshakeFailed uint64 // ended before that
	Refused         uint64 // turned away: stopping, at the cap, or a limit of its address
	Live            int    // handshaking or being served, counted by the cap or not
	Ended           [numReasons]uint64
}

// New returns a supervisor without connections.
func New(cfg Config) *Supervisor {
	if cfg.KeepEnded == 0 {
		cfg.KeepEnded = DefaultKeepEnded
	}
	s := &Supervisor{cfg: cfg, began: time.Now(), handshakes: NewGate(Unlimited)}
	s.SetLimits(cfg.Limits)
	n := 1
	for n < 4*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	s.shards = make([]shard, n)
	return s
}

// now is the supervisor's clock: nanoseconds since it began, whatever happens to the
// system's time. Who sets that by hours must not end every connection.
func (s *Supervisor) now() int64 { return int64(time.Since(s.began)) }

// SetLimits changes the limits. Those of time hold for all connections at once, those of
// handshakes and addresses for connections that are accepted from now on.
func (s *Supervisor) SetLimits(l Limits) {
	s.limits.Store(&l)
	n := l.MaxHandshakes
	if n <= 0 {
		n = Unlimited
	}
	s.handshakes.SetLimit(n)
}

// Handshakes returns how many handshakes are in progress.
func (s *Supervisor) Handshakes() int { return s.handshakes.State().Reserved }

// Sources returns how many addresses are in the table that the limits per address need.
func (s *Supervisor) Sources() int { return s.sources.len() }

// Start takes over nc, accepted on a listener of t, with its slot of the gate in use,
// and serves it with p in a goroutine of its own. Once the supervisor is stopping, it
// refuses it instead.
//
// The connection's context has the values of ctx. It should be one that never ends, such
// as context.WithoutCancel returns: Shutdown ends connections, and a parent that can
// end is a lock shared by all of them.
func (s *Supervisor) Start(ctx context.Context, t transport.Transport, nc net.Conn, p protocol.Protocol) {
	c := &connection{sup: s, protocol: p, started: s.now()}
	c.used(c.started)
	c.conn.Init(t, nc, c)
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.counted.Store(true)
	if !s.register(c) {
		c.cancel(ErrShutdown)
		c.conn.Abort()
		c.uncount()
		s.refuse(&c.conn, Refused)
		return
	}
	s.retrace(c)
	go c.run()
}

// Refuse closes nc, which was accepted on a listener of t but holds no slot, and counts it
// as [Refused].
func (s *Supervisor) Refuse(t transport.Transport, nc net.Conn) {
	s.refuse(transport.NewConn(t, nc, nil), Refused)
}

// RefuseAtCap closes nc, which was accepted on a listener of t but for which no slot came
// free, and counts it as [RefusedAtCap]. If p is a [protocol.Refuser], it has the last
// word, until ctx ends.
func (s *Supervisor) RefuseAtCap(ctx context.Context, t transport.Transport, nc net.Conn, p protocol.Protocol) {
	conn := transport.NewConn(t, nc, nil)
	defer s.refuse(conn, RefusedAtCap) // also if the protocol ends this goroutine
	if r, ok := p.(protocol.Refuser); ok && ctx.Err() == nil {
		lastWord(ctx, conn, r)
	}
}

// lastWord lets the protocol say why. Its panic is nobody's concern any more.
func lastWord(ctx context.Context, conn *transport.Conn, r protocol.Refuser) {
	defer context.AfterFunc(ctx, conn.Abort)()
	defer func() { _ = recover() }()
	if conn.Handshake(ctx) == nil {
		r.Refuse(ctx, conn, ErrAtCap)
		conn.StopReading(ErrAtCap) // so that what the peer has sent does not reset the last word
		conn.Close()
	}
}

func (s *Supervisor) refuse(conn *transport.Conn, why Reason) {
	conn.Abort()
	sh := s.shard(conn)
	end := End{Conn: conn, Reason: why, Err: why.cause()}
	sh.mu.Lock()
	sh.counts.Accepted++
	sh.counts.Refused++
	sh.counts.Ended[why]++
	s.remember(sh, nil, end)
	sh.mu.Unlock()
	if s.cfg.Ended != nil {
		s.cfg.Ended(end)
	}
}

func (s *Supervisor) shard(conn *transport.Conn) *shard {
	return &s.shards[conn.ID()%uint64(len(s.shards))]
}

// register admits c unless the supervisor is stopping; both are decided under one lock,
// so that nobody slips in behind a stop.
func (s *Supervisor) register(c *connection) bool {
	sh := s.shard(&c.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.stopping {
		return false
	}
	sh.running.Add(1)
	sh.counts.Accepted++
	sh.counts.Live++
	c.index = len(sh.live)
	sh.live = append(sh.live, c)
	return true
}

func (s *Supervisor) deregister(c *connection, end End) {
	sh := s.shard(&c.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := len(sh.live) - 1
	sh.live[c.index] = sh.live[last]
	sh.live[c.index].index = c.index
	sh.live[last] = nil
	sh.live = sh.live[:last]
	sh.counts.Live--
	sh.counts.Ended[end.Reason]++
	switch {
	case end.Served:
		sh.counts.Served++
	case end.Reason.refused():
		sh.counts.Refused++
	default:
		sh.counts.HandshakeFailed++
	}
	s.remember(sh, c, end)
}

// Counters returns the counters. Each shard is read at one instant, so the equation of
// [Counters] holds in what is returned.
func (s *Supervisor) Counters() Counters {
	var sum Counters
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		c := sh.counts
		sh.mu.Unlock()
		sum.Accepted += c.Accepted
		sum.Served += c.Served
		sum.HandshakeFailed += c.HandshakeFailed
		sum.Refused += c.Refused
		sum.Live += c.Live
		for r, n := range c.Ended {
			sum.Ended[r] += n
		}
	}
	return sum
}
