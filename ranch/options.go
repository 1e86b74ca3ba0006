package ranch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"time"

	"goranch/conns"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

const (
	// Unlimited is the MaxConnections of a listener without a cap.
	Unlimited = math.MaxInt

	// BrutalKill is the ShutdownTimeout that closes connections at once.
	BrutalKill time.Duration = -1
	// Infinity is the ShutdownTimeout that waits until every protocol has returned.
	Infinity time.Duration = math.MaxInt64

	// RefuseAtOnce is the RefuseAfter that refuses connections at the cap without waiting.
	RefuseAtOnce time.Duration = -1
	// KeepNone is the KeepClosed that keeps no closed connections.
	KeepNone = -1
)

// Options configure a listener. The zero value of each field is its default. Negative values are
// refused unless the field says what they mean.
type Options struct {
	// Addr is the address to listen on: "host:port", "unix:/path", "unix:@abstract", "fd:N",
	// "systemd:NAME", or another form that the transport supports. "" is ":0": all addresses of the
	// machine and a free port.
	Addr string

	// NumAcceptors is the number of acceptor goroutines, up to 10,000. 0 is 10, or
	// NumListenSockets if that is more. The Go runtime accepts one connection at a time on one
	// socket; more acceptors let the work after accept overlap.
	NumAcceptors int

	// NumListenSockets is the number of sockets on the address, up to 10,000. 0 is 1. Several
	// sockets share the port (SO_REUSEPORT) and the kernel spreads connections over them, so that
	// they are accepted in parallel. They need a [transport.PortSharer], and Linux.
	NumListenSockets int

	// MaxConnections is the cap: the maximum number of connections at once. 0 is 1024;
	// [Unlimited] is no cap. [Listener.SetMaxConnections] changes it; there, 0 is zero.
	MaxConnections int

	// HandshakeTimeout is the time from accept until the protocol is called. 0 is 5 s;
	// transport.NoTimeout is no limit.
	HandshakeTimeout time.Duration

	// ShutdownTimeout is the time from when connections are asked to stop until they are closed.
	// 0 is 5 s; [BrutalKill] closes them at once; [Infinity] is no limit.
	ShutdownTimeout time.Duration

	// DrainDelay is how long a drained listener still accepts connections, so that a load balancer
	// that checks its readiness sends no more. 0 is no delay.
	DrainDelay time.Duration

	// DrainSpread is the period over which a drain asks connections to stop, each at a random time,
	// so that their clients do not all connect elsewhere at once. 0 asks all at once.
	DrainSpread time.Duration

	// Limits are the limits of connections.
	conns.Limits

	// Networks are the rules for networks of clients: bans, exceptions, and limits of their own.
	// The table can be changed at any time, and several listeners may use it. nil is none.
	Networks *conns.Networks

	// Admit decides whether a connection is admitted, by the address of its client, for example by
	// its country or its reputation: an error refuses it, for the reason conns.RefusedByHook. It is
	// called after Networks and the limits per address, and before the handshake, in the goroutine
	// of the connection; see [conns.Settings]. It may block, up to the HandshakeTimeout. nil admits
	// all.
	Admit func(client netip.AddrPort) error

	// Shared limits the connections of several listeners together, in addition to the limits of
	// each. It cannot be changed later; its limits can. nil is none.
	Shared *conns.Shared

	// RefuseAfter is the time for which a connection waits for a slot at the cap until it is
	// refused, with the rejection message of a [protocol.Refuser]. 0 leaves clients in the
	// kernel's queue without a limit; [RefuseAtOnce], like any negative time, refuses them at once.
	// Connections beyond 1,024 pending ones are also refused at once.
	RefuseAfter time.Duration

	// Evict selects the connections that are asked to stop when the cap is lowered below their
	// number. "" is conns.EvictNone.
	Evict conns.EvictionPolicy

	// Alarms are the alarms by name. nil is none.
	Alarms map[string]Alarm

	// KeepClosed is the number of connections that [Listener.RecentlyClosed] returns. 0 is 100;
	// [KeepNone], like any negative number, keeps none. It cannot be changed later.
	KeepClosed int

	// Logger logs the events of the listener: connections at debug, the listener at info, faults
	// at warn, panics at error. nil is slog.Default() at the time of creation. It cannot be
	// changed later.
	Logger *slog.Logger

	// Observer is called with every event, in the goroutine in which it happens, by several
	// goroutines at once. It must return quickly. Its panics are logged. nil is none. It cannot
	// be changed later.
	Observer func(Event)

	// PostListen is called with each listening socket before it accepts, for settings that have
	// no field here. Its error fails the start or the resume; after a socket was reopened, an error
	// causes another attempt. It must not call methods of its listener. nil is none.
	PostListen func(net.Listener) error
}

func (o Options) withDefaults() Options {
	option.Default(&o.Addr, ":0")
	option.Default(&o.NumListenSockets, 1)
	option.Default(&o.NumAcceptors, max(10, o.NumListenSockets))
	option.Default(&o.MaxConnections, 1024)
	option.Default(&o.HandshakeTimeout, 5*time.Second)
	option.Default(&o.ShutdownTimeout, 5*time.Second)
	option.Default(&o.ParkAfter, time.Second)
	option.Default(&o.Evict, conns.EvictNone)
	o.Alarms = maps.Clone(o.Alarms) // the caller may change its map
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// maxAcceptors limits the goroutines and sockets that a mistyped option can start.
const maxAcceptors = 10_000

// validate reports every fault of options that have their defaults.
func (o Options) validate() error {
	var f option.Faults
	if o.NumListenSockets < 1 || o.NumListenSockets > maxAcceptors {
		f.Bad("NumListenSockets", o.NumListenSockets, fmt.Sprintf("1 to %d, and 0 for 1", maxAcceptors))
	}
	if o.NumAcceptors < 1 || o.NumAcceptors > maxAcceptors {
		f.Bad("NumAcceptors", o.NumAcceptors, fmt.Sprintf("1 to %d, and 0 for 10", maxAcceptors))
	} else if o.NumAcceptors < o.NumListenSockets {
		f.Bad("NumAcceptors", o.NumAcceptors,
			fmt.Sprintf("numbers from %d, one for each listening socket", o.NumListenSockets))
	}
	if o.MaxConnections < 0 {
		f.Bad("MaxConnections", o.MaxConnections, "positive numbers, 0 for 1024, and Unlimited")
	}
	f.DurationOrNoTimeout("HandshakeTimeout", o.HandshakeTimeout, "0 for 5s")
	if o.ShutdownTimeout < 0 && o.ShutdownTimeout != BrutalKill {
		f.Bad("ShutdownTimeout", o.ShutdownTimeout, "positive durations, 0 for 5s, BrutalKill and Infinity")
	}
	f.Positive("DrainDelay", o.DrainDelay, "0 for none")
	f.Positive("DrainSpread", o.DrainSpread, "0 for none")
	f.Add(o.Limits.Validate())
	switch o.Evict {
	case conns.EvictNone, conns.EvictOldest, conns.EvictMostIdle, conns.EvictRandom:
	default:
		f.Bad("Evict", o.Evict, "none, oldest, most-idle and random")
	}
	for name, a := range o.Alarms {
		a.check(name, &f)
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadOption, err)
	}
	return nil
}

// settings returns the options that apply to connections.
func (o Options) settings() conns.Settings {
	return conns.Settings{Limits: o.Limits, Networks: o.Networks, Admit: o.Admit, HandshakeTimeout: o.HandshakeTimeout, Grace: o.ShutdownTimeout}
}

// check reports every fault of the arguments of NewListener.
func check(ref string, t transport.Transport, o Options, p protocol.Protocol) error {
	faults := []error{o.validate()}
	if ref == "" {
		faults = append(faults, fmt.Errorf("%w: ref \"\": a listener needs a name", ErrBadOption))
	}
	if p == nil {
		faults = append(faults, fmt.Errorf("%w: protocol nil: a listener needs a protocol", ErrBadOption))
	}
	faults = append(faults, checkTransport(t, o.Addr))
	if t != nil && o.NumListenSockets > 1 {
		if _, ok := t.(transport.PortSharer); !ok {
			faults = append(faults, fmt.Errorf("%w: option NumListenSockets %d: transport %s cannot open several sockets on one port: %w",
				ErrBadOption, o.NumListenSockets, t.Name(), errors.ErrUnsupported))
		}
	}
	return errors.Join(faults...)
}

func checkTransport(t transport.Transport, addr string) error {
	if t == nil {
		return fmt.Errorf("%w: transport nil: use transport.TCP{}, transport.TLS{…} or another transport.Transport", ErrBadOption)
	}
	var faults []error
	if v, ok := t.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: transport %s: %w", ErrBadOption, t.Name(), err))
		}
	}
	switch innermost(t).(type) { // other transports have other addresses
	case transport.TCP, *transport.TCP, transport.TLS, *transport.TLS:
		if _, _, err := transport.ParseAddr(addr); err != nil {
			faults = append(faults, fmt.Errorf("%w: Addr: %w", ErrBadOption, err))
		}
	}
	return errors.Join(faults...)
}

// innermost returns the transport that t wraps, at any depth.
func innermost(t transport.Transport) transport.Transport {
	for {
		u, ok := t.(transport.Unwrapper)
		if !ok {
			return t
		}
		t = u.Unwrap()
	}
}
