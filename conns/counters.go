package conns

import "goranch/internal/engine"

// Counters counts connections since the supervisor was created. At every moment
// Accepted = Served + HandshakeFailed + Refused + Live, and
// Live = Handshaking + Serving + Parked + Ending.
type Counters struct {
	Accepted        uint64
	Served          uint64 // the protocol was called and has returned
	HandshakeFailed uint64 // ended before the protocol was called
	Refused         uint64 // refused: stopping, at the cap, banned, or by another limit
	Live            int    // in the handshake or served, counted by the cap or not
	Ended           [numReasons]uint64

	// HandshakeFailures are those of HandshakeFailed by cause.
	HandshakeFailures [numHandshakeFailures]uint64

	// Live connections by state: waiting for a handshake or in it, served, served and idle without
	// a goroutine, and asked to stop.
	Handshaking, Serving, Parked, Ending int

	// Unestablished are those of Serving, Parked and Ending that are in the login phase. It is 0
	// unless LoginTimeout or MaxUnestablished is set.
	Unestablished int

	// Payload of all connections, also of ended and refused ones. They never decrease. What
	// transport.Stats does not count is not included.
	BytesRead, BytesWritten uint64

	Handshakes int // in progress
	Addresses  int // source addresses in the table of the limits per address
}

// Counters returns the counters. Each shard is read at one instant, so the equations of [Counters]
// hold in the result. It visits every live connection, which takes about a millisecond for 10,000.
func (s *Supervisor) Counters() Counters {
	var sum Counters
	var batch []*connection
	for i := range s.shards {
		var c Counters
		c, batch = s.shards[i].count(batch)
		sum.add(&c)
	}
	if !s.limitsLogin() {
		sum.Unestablished = 0
	}
	sum.Handshakes, sum.Addresses = s.handshakes.State().Reserved, s.addresses.len()
	return sum
}

// count returns the counters of a shard, with its live connections. It visits them without the
// lock, and again if one has ended meanwhile: then its bytes may include some that CountLate has
// not reported yet, and a later sum could be smaller.
func (sh *shard) count(batch []*connection) (Counters, []*connection) {
	for range 3 {
		sh.mu.Lock()
		c := sh.counts
		batch = append(batch[:0], sh.live...)
		sh.mu.Unlock()
		if c.addLive(batch) {
			return c, batch
		}
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.counts
	c.addLive(sh.live)
	return c, batch
}

// addLive adds the states and the bytes of live connections. It reports whether none has ended.
func (sum *Counters) addLive(live []*connection) bool {
	for _, c := range live {
		read, written, sealed := engine.Of(&c.conn).Bytes()
		if sealed {
			return false
		}
		sum.BytesRead += read
		sum.BytesWritten += written
		if c.flags.has(flagLogin) {
			sum.Unestablished++
		}
		switch {
		case c.ctx.Err() != nil:
			sum.Ending++
		case c.flags.has(flagParked):
			sum.Parked++
		case c.flags.has(flagServing):
			sum.Serving++
		default:
			sum.Handshaking++
		}
	}
	return true
}

func (sum *Counters) add(c *Counters) {
	sum.Accepted += c.Accepted
	sum.Served += c.Served
	sum.HandshakeFailed += c.HandshakeFailed
	sum.Refused += c.Refused
	sum.Live += c.Live
	for r, n := range c.Ended {
		sum.Ended[r] += n
	}
	for f, n := range c.HandshakeFailures {
		sum.HandshakeFailures[f] += n
	}
	sum.Handshaking += c.Handshaking
	sum.Serving += c.Serving
	sum.Parked += c.Parked
	sum.Unestablished += c.Unestablished
	sum.Ending += c.Ending
	sum.BytesRead += c.BytesRead
	sum.BytesWritten += c.BytesWritten
}
