package conns

import (
	"net/netip"
	"time"

	"goranch/transport"
)

// Config configures a [Supervisor]. It is not changed after New.
type Config struct {
	// Gate receives the slots of connections that have ended. It must not be nil.
	Gate *Gate
	// Settings are the initial ones; see [Supervisor.Set].
	Settings Settings
	// KeepClosed is how many closed connections [Supervisor.RecentlyClosed] returns. 0 is 100; a
	// negative number, such as ranch.KeepNone, is none.
	KeepClosed int
	// Started is called when a connection has been registered, before its handshake, and Ended
	// after it has ended and its slot was released. For refused connections only Ended is called.
	// Both are called in a goroutine of the connection, or in the one that refuses it. Either may
	// be nil. A panic in Started ends the connection as [Panicked]. Ended must not panic; Drain
	// waits until it returns.
	Started func(*transport.Conn)
	Ended   func(ConnEnd)
}

// Settings apply to connections and can be changed at any time. Unlike in ranch.Options, 0 selects
// no default: each field states its meaning.
type Settings struct {
	Limits Limits
	// Networks are the rules for source addresses. nil is none.
	Networks *Networks
	// Admit decides whether a connection is admitted, by the address of its client, for example by
	// its country or its reputation: an error refuses the connection, for the reason
	// [RefusedByHook], with up to 200 bytes of the error's text in the log. It is called after
	// Networks and the limits per address, and before the handshake; behind a proxy, when the PROXY
	// header was read. Connections without an IP address are admitted without a call. It is called
	// by many goroutines at once and may block: at the HandshakeTimeout the socket is closed, but
	// the slot is released only when Admit has returned. A panic ends its connection only. nil
	// admits all.
	Admit func(client netip.AddrPort) error
	// HandshakeTimeout is the time for everything before Serve, including Admit and waiting for
	// MaxHandshakes. 0 or less is no limit.
	HandshakeTimeout time.Duration
	// Grace is the time between asking a connection to stop, because of a limit or eviction, and
	// closing it. 0 or less closes at once.
	Grace time.Duration
}

// ConnEnd describes the end of a connection.
type ConnEnd struct {
	Conn     *transport.Conn // closed; for its addresses and counters
	Reason   Reason
	Err      error // what the protocol, or the handshake, returned
	Served   bool  // the handshake was completed and the protocol called
	Duration time.Duration
	// Handshake is the beginning of Duration until the protocol was called, or all of it if it was
	// not. It is 0 if the transport has no handshake.
	Handshake time.Duration
}
