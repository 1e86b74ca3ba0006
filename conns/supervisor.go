// Package conns tracks, limits and supervises live connections. A [Gate] enforces the cap, and a
// [Supervisor] runs a protocol on each connection, lists connections, and shuts them down. A
// [Shared] limits the connections of several listeners together, and [Networks] has rules for the
// addresses of clients.
//
// Package ranch connects both to listening sockets. An acceptor works like this:
//
//	for {
//		if err := gate.Reserve(ctx); err != nil { // waits at the cap
//			return err
//		}
//		nc, err := ln.Accept()
//		if err != nil {
//			gate.Cancel()
//			…
//		}
//		if err := gate.Confirm(ctx); err != nil { // waits only if the cap was lowered
//			sup.Refuse(ctx, conns.Refused, t, nc, p)
//			return err
//		}
//		sup.Start(base, t, nc, p) // the supervisor releases the slot
//	}
//
// # Locks
//
// The gate has one mutex, held for a few instructions; the gates of a [Shared] have one together.
// Connections are distributed over shards with a mutex each, taken when a connection starts and
// when it ends. No method holds two locks, takes a lock per read or write, or calls a protocol, a
// hook or a Match function with a lock held; only the condition of [Gate.Wait] is called under the
// gate's lock.
package conns

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/internal/throttle"
	"goranch/protocol"
	"goranch/transport"
)

// Supervisor runs connections. Its methods may be called from any goroutine.
type Supervisor struct {
	// Configuration.
	cfg      Config
	created  time.Time // see now
	settings atomic.Pointer[Settings]

	// Limits.
	handshakes    *Gate // limits handshakes in progress
	acceptRate    acceptRate
	bandwidth     throttle.Limits
	addresses     addresses
	unestablished loginCount
	rejecting     atomic.Int32 // connections that are sent a rejection message by reject

	// Connections.
	shards    []shard
	durations []durations
	traces    traces
}

// shard holds a part of the connections, with their counters under the same lock, so that each
// sum over the shards is exact.
type shard struct {
	mu       sync.Mutex
	stopping bool
	live     []*connection
	counts   Counters
	closed   ring
	running  sync.WaitGroup // connections that have not ended, or whose end is being reported
	_        [64]byte       // keeps the next shard out of this cache line
}

// New returns a supervisor without connections.
func New(cfg Config) *Supervisor {
	if cfg.KeepClosed == 0 {
		cfg.KeepClosed = 100
	}
	s := &Supervisor{cfg: cfg, created: time.Now(), handshakes: NewGate(unlimited)}
	s.Set(cfg.Settings)
	n := 1
	for n < 4*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	s.shards = make([]shard, n)
	s.durations = make([]durations, min(n/4, maxDurationShards))
	return s
}

// now is the supervisor's clock, in nanoseconds since it was created. It is monotonic: a change of
// the system's time must not end connections.
func (s *Supervisor) now() int64 { return int64(time.Since(s.created)) }

// Set changes the settings. Time limits apply to all connections at once; those of handshakes and
// addresses apply to connections that are accepted from now on.
func (s *Supervisor) Set(to Settings) {
	option.Default(&to.Limits.ParkAfter, time.Second)
	s.acceptRate.set(to.Limits.AcceptRate)
	s.settings.Store(&to)
	n := to.Limits.MaxHandshakes
	if n <= 0 {
		n = unlimited
	}
	s.handshakes.SetLimit(n)
	s.bandwidth.Set(to.Limits.bandwidth())
	if s.bandwidth.Any() {
		s.each(func(c *connection) { engine.Of(&c.conn).LimitRates(&s.bandwidth) })
	}
}

// Start takes over nc, accepted on a listener of t, with its slot of the gate, and serves it with
// p in a goroutine of its own. A supervisor that is stopping refuses it.
//
// The connection's context has the values of ctx, which should never end, such as the result of
// context.WithoutCancel: Drain ends connections, and a parent that can end adds a lock shared by
// all of them.
func (s *Supervisor) Start(ctx context.Context, t transport.Transport, nc net.Conn, p protocol.Protocol) {
	now := s.now()
	s.start(ctx, t, nc, p, now, now)
}

// StartPending is Start for a connection that was accepted at that time and has waited for its
// slot.
func (s *Supervisor) StartPending(ctx context.Context, t transport.Transport, nc net.Conn, p protocol.Protocol, accepted time.Time) {
	now := s.now()
	s.start(ctx, t, nc, p, min(int64(accepted.Sub(s.created)), now), now)
}

// start starts a connection that was accepted at a time on the supervisor's clock. The time for
// which it has waited is not idle time.
func (s *Supervisor) start(ctx context.Context, t transport.Transport, nc net.Conn, p protocol.Protocol, accepted, now int64) {
	c := &connection{sup: s, protocol: p, started: accepted}
	c.used(now)
	engine.Init(&c.conn, t, nc, c)
	c.ctx.init(ctx)
	c.flags.set(flagCounted)
	if !s.register(c) {
		c.ctx.end(protocol.ErrShutdown)
		abort(&c.conn)
		c.Uncount()
		s.refuse(&c.conn, Refused)
		return
	}
	if s.bandwidth.Any() { // after register: Set visits the connections that are registered
		engine.Of(&c.conn).LimitRates(&s.bandwidth)
	}
	go c.run()
}

func (s *Supervisor) shard(conn *transport.Conn) *shard {
	return &s.shards[conn.ID()%uint64(len(s.shards))]
}

// register registers c unless the supervisor is stopping. It checks and registers under one lock,
// so that no connection is registered after Drain has collected them.
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
	c.index = int32(len(sh.live))
	sh.live = append(sh.live, c)
	return true
}

func (s *Supervisor) deregister(c *connection, after time.Duration) {
	var o origin
	o.set(&c.conn)
	now := time.Now()
	var failure HandshakeFailure
	served, reason := c.flags.has(flagServing), c.endedAs
	if served {
		s.durationsOf(c).connection.observe(after)
	} else {
		failure = handshakeFailure(reason, c.err)
	}
	sh := s.shard(&c.conn)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	read, written := engine.Of(&c.conn).Seal() // here, so that each sum has them once
	sh.counts.BytesRead += read
	sh.counts.BytesWritten += written
	last := len(sh.live) - 1
	sh.live[c.index] = sh.live[last]
	sh.live[c.index].index = c.index
	sh.live[last] = nil
	sh.live = sh.live[:last]
	sh.counts.Live--
	sh.counts.Ended[reason]++
	switch {
	case served:
		sh.counts.Served++
	case reason.Refusal(), reason == Banned:
		sh.counts.Refused++
	default:
		sh.counts.HandshakeFailed++
		sh.counts.HandshakeFailures[failure]++
	}
	s.addClosed(sh, c, &c.conn, reason, c.err, &o, now)
}

// each calls f for every connection that is registered now, with no lock held.
func (s *Supervisor) each(f func(*connection)) {
	var batch []*connection
	for i := range s.shards {
		batch = s.shards[i].snapshot(batch[:0])
		for _, c := range batch {
			f(c)
		}
	}
}

// eachOf is each for the connection with that id only, unless id is 0.
func (s *Supervisor) eachOf(id uint64, f func(*connection)) {
	if id == 0 {
		s.each(f)
		return
	}
	for _, c := range s.shards[id%uint64(len(s.shards))].snapshot(nil) {
		if c.conn.ID() == id {
			f(c)
		}
	}
}

func (sh *shard) snapshot(to []*connection) []*connection {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return append(to, sh.live...)
}
