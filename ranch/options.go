package ranch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"time"

	"goranch/conns"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

const (
	// Unlimited is the MaxConnections of a listener without a cap.
	Unlimited = conns.Unlimited

	// BrutalKill is the ShutdownTimeout that closes connections at once.
	BrutalKill time.Duration = -1
	// Infinity is the ShutdownTimeout that waits until each protocol has returned.
	Infinity time.Duration = math.MaxInt64
)

// Options configure a listener. The zero value of each field is its default.
type Options struct {
	// Addr is where to listen: "host:port", "unix:/path", "unix:@abstract", or another form that
	// the transport knows. "" is ":0": every address of the machine, a free port.
	Addr string

	// NumAcceptors is the number of goroutines that accept. 0 is 10, and at least
	// NumListenSockets. On one socket the Go runtime accepts one connection at a time; more
	// acceptors let the work after accept overlap, and a slow or failing one does not stop the rest.
	NumAcceptors int

	// NumListenSockets is the number of sockets on the address. 0 is 1. More share the port
	// (SO_REUSEPORT), and the kernel spreads connections over them, which makes accepting
	// parallel. The transport must be a [transport.PortSharer]; Linux only, not with Unix sockets.
	NumListenSockets int

	// MaxConnections is how many connections may live at once. 0 is 1024; [Unlimited] is no cap.
	// At the cap clients wait in the kernel's queue; see RefuseAfter. It can be changed
	// by SetMaxConnections, where 0 means none.
	MaxConnections int

	// HandshakeTimeout is the time from accept until the protocol is called. 0 is 5 s;
	// transport.NoTimeout is no limit.
	HandshakeTimeout time.Duration

	// ShutdownTimeout is the time from asking connections to stop until they are closed. 0 is
	// 5 s; [BrutalKill] closes them at once; [Infinity] waits for them. Other negative values are
	// refused.
	ShutdownTimeout time.Duration

	// Limits limit what connections may use.
	conns.Limits

	// RefuseAfter is what happens at the cap. 0, the default, leaves clients in the kernel's queue. A
	// positive time accepts them and refuses those that have no slot after it; a negative
	// one refuses them at once. A protocol that is a [protocol.Refuser] sends a rejection message.
	// At most 1,024 connections wait in this way; others are refused at once.
	RefuseAfter time.Duration
	// Evict says which connections are asked to stop when the cap is lowered below their number.
	// The default is none.
	Evict conns.EvictionPolicy

	// Alarms report when something runs short, by name.
	Alarms map[string]Alarm

	// KeepClosed is how many closed connections [Listener.RecentlyClosed] returns. 0 is 100; a
	// negative number is none. It cannot be changed later.
	KeepClosed int

	// Logger receives the events of the listener: its state at info, faults at warn, protocols that
	// panicked at error, and the start and end of each connection at debug. nil is slog.Default()
	// when the listener is created.
	Logger *slog.Logger

	// Observer is called with every event as well. nil is none.
	Observer Observer

	// PostListen is called with each listening socket before anything is accepted, for settings that
	// have no field here. Its error fails the start; for a socket that was reopened, it means
	// another try. It must not stop or suspend its own listener.
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
	o.Alarms = maps.Clone(o.Alarms) // the caller may change its map
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// maxAcceptors keeps a typing error from starting a million goroutines.
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
		f.Bad("NumAcceptors", o.NumAcceptors, fmt.Sprintf("numbers from %d, one for each listening socket", o.NumListenSockets))
	}
	if o.MaxConnections < 0 {
		f.Bad("MaxConnections", o.MaxConnections, "positive numbers, 0 for 1024, and Unlimited")
	}
	f.DurationOrNoTimeout("HandshakeTimeout", o.HandshakeTimeout, "0 for 5s")
	if o.ShutdownTimeout < 0 && o.ShutdownTimeout != BrutalKill {
		f.Bad("ShutdownTimeout", o.ShutdownTimeout, "positive durations, 0 for 5s, BrutalKill and Infinity")
	}
	f.Add(o.Limits.Validate())
	if o.Evict > conns.EvictRandom {
		f.Bad("Evict", o.Evict, "conns.EvictNone, EvictOldest, EvictMostIdle and EvictRandom")
	}
	for name, a := range o.Alarms {
		a.check(name, &f)
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadOption, err)
	}
	return nil
}

// settings returns what applies to connections.
func (o Options) settings() conns.Settings {
	return conns.Settings{Limits: o.Limits, HandshakeTimeout: o.HandshakeTimeout, Grace: o.ShutdownTimeout}
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
			faults = append(faults, fmt.Errorf("%w: option NumListenSockets %d: transport %s cannot open several sockets on one port: %w", ErrBadOption, o.NumListenSockets, t.Name(), errors.ErrUnsupported))
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
