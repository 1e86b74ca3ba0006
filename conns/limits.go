package conns

import (
	"time"

	"goranch/internal/option"
	"goranch/internal/throttle"
)

// Limits limit what connections may use. They can be changed at any time. The zero value of each
// field is its default: no limit, except for ParkAfter. transport.NoLimit and transport.NoTimeout
// say the same explicitly; other negative values are refused.
type Limits struct {
	// MaxHandshakes is how many handshakes may be in progress at once; others wait, in order of
	// arrival. Transports without a handshake are not limited.
	MaxHandshakes int

	// AcceptRate is how fast connections are accepted; other clients wait in the kernel's queue.
	AcceptRate Rate

	// PerAddress is how many connections one source address may have, and AddressRate how fast it
	// may connect. IPv6 addresses count by their /64; Unix sockets and in-memory connections do
	// not count. Behind a proxy that names the client, the client's address counts.
	PerAddress  int
	AddressRate Rate

	// ReceiveRate and SendRate are how many bytes of payload per second one connection receives and
	// sends, and TotalReceiveRate and TotalSendRate all connections together, which are served in
	// the order in which they have data. Data beyond that waits: received data in the kernel, so
	// that TCP slows down the peer, and sent data in the blocked Write. An idle connection, or the
	// listener, may transfer the bytes of 50 ms at once. Over 10 s a rate is exceeded by at most 1
	// %. Reads and writes that wait are ended at once by deadlines, stops and the end of the
	// connection, and a connection that waits is not idle for the limits below. Up to 64 KiB of
	// received data may wait in a connection.
	ReceiveRate, SendRate           int
	TotalReceiveRate, TotalSendRate int

	// LoginTimeout and MaxUnestablished limit the login phase: from when the protocol is called,
	// which is after the handshake, until it calls transport.Conn.Established. LoginTimeout ends a
	// connection whose login phase takes longer, as the limits below do. MaxUnestablished is how
	// many connections may be in it at once; further ones are refused after their handshake, with
	// the rejection message of a [protocol.Refuser]. If they waited instead, clients that send
	// nothing would block all others. Both limits are for protocols that call Established:
	// connections of other protocols stay in the login phase.
	LoginTimeout     time.Duration
	MaxUnestablished int

	// IdleTimeout ends a connection without traffic for that long, ReadTimeout one that has
	// received nothing, WriteTimeout one that has sent nothing. A monitor loop enforces them, up to
	// an eighth of the limit or a second late, whichever is less. The connection is then asked to
	// stop, and closed after the shutdown timeout.
	IdleTimeout, ReadTimeout, WriteTimeout time.Duration

	// MinReceiveRate is the least number of bytes per second that a peer must send while it is in
	// the middle of a message: of a frame, for protocols made by protocol.Handle with a codec, or
	// as transport.Conn.SetReceiving sets it. It ends connections of peers that keep requests
	// incomplete and evade IdleTimeout by sending a byte now and then. The rate is measured in
	// windows of 10 s: a connection that has received fewer than 10 * MinReceiveRate bytes in one
	// is asked to stop. Idle connections, and messages that take less than 10 s, are not affected.
	// Over TLS payload counts when its record is complete, so windows are longer by the time for 16
	// KiB at that rate.
	MinReceiveRate int

	// Lifetime ends a connection at that age. LifetimeJitter is the fraction of it, 0 to 1, by
	// which lifetimes are shortened at random, so that clients that connected together do not
	// reconnect together.
	Lifetime       time.Duration
	LifetimeJitter float64

	// ParkAfter is the time without received data after which a connection is parked: it has no
	// goroutine until data arrives. It applies to connections of protocols made by protocol.Handle,
	// on Linux. It saves more than 2 KiB per connection and costs about ten microseconds each time.
	// Plain sockets are parked after their fourth read, whenever all that has arrived was handled,
	// or before it if more than 256 goroutines wait, and that costs nothing each time. 0 is 1 s, up
	// to a second late; NoTimeout never parks, plain sockets included.
	ParkAfter time.Duration
}

// Validate returns an error that names every field with a value that is not allowed.
func (l Limits) Validate() error {
	var f option.Faults
	f.CountOrNoLimit("MaxHandshakes", l.MaxHandshakes, "0 for no limit")
	f.CountOrNoLimit("PerAddress", l.PerAddress, "0 for no limit")
	f.Add(l.AcceptRate.check("AcceptRate"))
	f.Add(l.AddressRate.check("AddressRate"))
	f.CountOrNoLimit("ReceiveRate", l.ReceiveRate, "0 for no limit")
	f.CountOrNoLimit("SendRate", l.SendRate, "0 for no limit")
	f.CountOrNoLimit("TotalReceiveRate", l.TotalReceiveRate, "0 for no limit")
	f.CountOrNoLimit("TotalSendRate", l.TotalSendRate, "0 for no limit")
	f.DurationOrNoTimeout("LoginTimeout", l.LoginTimeout, "0 for no limit")
	f.CountOrNoLimit("MaxUnestablished", l.MaxUnestablished, "0 for no limit")
	f.DurationOrNoTimeout("IdleTimeout", l.IdleTimeout, "0 for no limit")
	f.DurationOrNoTimeout("ReadTimeout", l.ReadTimeout, "0 for no limit")
	f.DurationOrNoTimeout("WriteTimeout", l.WriteTimeout, "0 for no limit")
	f.CountOrNoLimit("MinReceiveRate", l.MinReceiveRate, "0 for no limit")
	f.DurationOrNoTimeout("Lifetime", l.Lifetime, "0 for no limit")
	if j := l.LifetimeJitter; !(j >= 0 && j <= 1) {
		f.Bad("LifetimeJitter", j, "fractions from 0 to 1")
	}
	f.DurationOrNoTimeout("ParkAfter", l.ParkAfter, "0 for 1s")
	return f.Err()
}

// bandwidth returns the rates in bytes per second.
func (l *Limits) bandwidth() throttle.Rates {
	return throttle.Rates{
		Connection: [2]int{throttle.Receive: max(l.ReceiveRate, 0), throttle.Send: max(l.SendRate, 0)},
		Total:      [2]int{throttle.Receive: max(l.TotalReceiveRate, 0), throttle.Send: max(l.TotalSendRate, 0)},
	}
}

// shortest returns the shortest of the times that Monitor enforces; 0 if there is none.
func (l *Limits) shortest() (d time.Duration) {
	for _, t := range []time.Duration{l.LoginTimeout, l.IdleTimeout, l.ReadTimeout, l.WriteTimeout, l.Lifetime} {
		if t > 0 && (d == 0 || t < d) {
			d = t
		}
	}
	return d
}

// lifetime returns how long the connection with that id may live. Its jitter is derived from the
// id, which needs no memory per connection.
func (l *Limits) lifetime(id uint64) time.Duration {
	return time.Duration(float64(l.Lifetime) * (1 - l.LifetimeJitter*fraction(id)))
}

// fraction returns a number from 0 to less than 1 that x determines and that looks random.
func fraction(x uint64) float64 {
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return float64(x>>11) / (1 << 53)
}
