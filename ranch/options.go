package ranch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Defaults of [Options].
const (
	DefaultNumAcceptors     = 10
	DefaultNumListenSockets = 1
	DefaultMaxConnections   = 1024
	DefaultHandshakeTimeout = 5 * time.Second
	DefaultShutdownTimeout  = 5 * time.Second
	DefaultRestAfter        = time.Second
)

const (
	// Unlimited is the MaxConnections of a listener that admits everybody.
	Unlimited = conns.Unlimited

	// BrutalKill is the ShutdownTimeout that closes connections at once.
	BrutalKill time.Duration = -1
	// Infinity is the ShutdownTimeout that waits until each protocol has returned.
	Infinity time.Duration = math.MaxInt64
)

// Options are a listener's settings. The zero value of each field is its default.
type Options struct {
	// Addr is where to listen: "host:port", "unix:/path", "unix:@abstract" or what the
	// transport takes besides. "" is ":0": every address of the machine, a free port.
	Addr string

	// NumAcceptors is the number of goroutines that accept. 0 is 10. It is at least
	// NumListenSockets. On one socket the Go runtime accepts one connection at a time;
	// what more acceptors add is that the work after it overlaps, and that a slow or
	// failing one does not stop the rest.
	NumAcceptors int

	// NumListenSockets is the number of sockets on the address. 0 is 1. More share the
	// port by SO_REUSEPORT, and the kernel spreads connections over them, which is what
	// makes accepting parallel; Linux only, not with Unix sockets.
	NumListenSockets int

	// MaxConnections is how many connections may live at once. 0 is 1024; [Unlimited]
	// is no cap. Others wait in the kernel's queue until one ends. See SetMaxConnections.
	MaxConnections int

	// HandshakeTimeout is the time from accept until the protocol begins. 0 is 5 s; a
	// negative one means no limit.
	HandshakeTimeout time.Duration

	// ShutdownTimeout is how long connections may go on after they were told to end.
	// 0 is 5 s; [BrutalKill] closes them at once, [Infinity] waits for them. Other
	// negative values are refused.
	ShutdownTimeout time.Duration

	// RefuseAfter is what happens at the cap. 0 is the default: acceptors are parked, clients
	// wait in the kernel's queue, and nobody is refused. A positive one accepts them and
	// refuses those for whom no slot has come free after that time; a negative one refuses
	// at once. A protocol that is a [protocol.Refuser] has the last word. Those who wait hold
	// no slot; of more than 1,024 the rest is refused at once.
	RefuseAfter time.Duration
	// Evict says which connections are told to end when the cap is lowered below their
	// number. The default is nobody.
	Evict conns.Victims

	// AcceptRate is how fast connections are accepted; others wait in the kernel's queue. The
	// zero Rate is no limit.
	AcceptRate conns.Rate
	// MaxPerAddress is how many connections one source address may have, and AddressRate how
	// fast it may connect; what exceeds them is refused. 0 is no limit; negative values are
	// refused. IPv6 addresses count by their /64, Unix sockets do not count, and behind
	// a proxy the client's address counts.
	MaxPerAddress int
	AddressRate   conns.Rate
	// MaxHandshakes is how many handshakes may be in progress at once; others wait within
	// their HandshakeTimeout. 0 is as many as the cap allows; negative values are refused.
	MaxHandshakes int

	// IdleTimeout ends connections on which nothing was carried for that time, ReadTimeout
	// those on which nothing was received, WriteTimeout those on which nothing was sent,
	// Lifetime those of that age; 0 is no limit, negative values are refused. They are told to
	// end up to an eighth of the limit later, a second at most, and closed after the
	// ShutdownTimeout. LifetimeJitter shortens each life at random by up to that share of it,
	// 0 to 1, so that clients which came together do not return together.
	IdleTimeout    time.Duration
	ReadTimeout    time.Duration
	WriteTimeout   time.Duration
	Lifetime       time.Duration
	LifetimeJitter float64

	// RestAfter is how long nothing has to be received on a connection before it gives up its
	// goroutine, until something is. Protocols made by [protocol.Handle] can do that, on sockets of
	// Linux; see [protocol.Sleeper]. It saves more than 2 KiB for each, and costs some ten
	// microseconds for lying down and getting up. 0 is 1 s, and it takes up to a second more; negative is never.
	RestAfter time.Duration

	// Alarms tell when something runs short, by name.
	Alarms map[string]Alarm

	// KeepEnded is how many connections are remembered after their end. 0 is 100; a
	// negative number is none. It cannot be changed later.
	KeepEnded int

	// Logger gets what happens to the listener (info), what is wrong (warn), protocols
	// that panicked (error), and each connection's begin and end (debug). nil is
	// slog.Default() when the listener is made.
	Logger *slog.Logger

	// Observer gets every event, besides the logger. nil is nobody.
	Observer Observer

	// PostListen is called with each listening socket before anything is accepted, for
	// what has no field here. Its error fails the start. A socket that had to be opened
	// again is one too; then its error means another try. It must not stop or suspend
	// its own listener.
	PostListen func(net.Listener) error
}

// withDefaults returns o with each zero field set to its default.
func (o Options) withDefaults() Options {
	def(&o.Addr, ":0")
	def(&o.NumListenSockets, DefaultNumListenSockets)
	def(&o.NumAcceptors, max(DefaultNumAcceptors, o.NumListenSockets))
	def(&o.MaxConnections, DefaultMaxConnections)
	def(&o.HandshakeTimeout, DefaultHandshakeTimeout)
	def(&o.ShutdownTimeout, DefaultShutdownTimeout)
	def(&o.RestAfter, DefaultRestAfter)
	o.Alarms = maps.Clone(o.Alarms) // the map is the user's, who may go on with it
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// maxAcceptors keeps a slip of the keyboard from starting a million goroutines.
const maxAcceptors = 10_000

// validate reports every fault of options that have their defaults.
func (o Options) validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, &OptionError{field, value, allowed})
	}
	if o.NumListenSockets < 1 || o.NumListenSockets > maxAcceptors {
		bad("NumListenSockets", o.NumListenSockets, fmt.Sprintf("are 1 to %d, and 0 for %d", maxAcceptors, DefaultNumListenSockets))
	}
	if o.NumAcceptors < 1 || o.NumAcceptors > maxAcceptors {
		bad("NumAcceptors", o.NumAcceptors, fmt.Sprintf("are 1 to %d, and 0 for %d", maxAcceptors, DefaultNumAcceptors))
	} else if o.NumAcceptors < o.NumListenSockets {
		bad("NumAcceptors", o.NumAcceptors, fmt.Sprintf("is at least one for each of the %d listening sockets", o.NumListenSockets))
	}
	if o.MaxConnections < 0 {
		bad("MaxConnections", o.MaxConnections, fmt.Sprintf("are positive numbers, 0 for %d, and Unlimited", DefaultMaxConnections))
	}
	if o.ShutdownTimeout < 0 && o.ShutdownTimeout != BrutalKill {
		bad("ShutdownTimeout", o.ShutdownTimeout, fmt.Sprintf("are positive times, 0 for %v, BrutalKill and Infinity", DefaultShutdownTimeout))
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxPerAddress", o.MaxPerAddress}, {"MaxHandshakes", o.MaxHandshakes}} {
		if f.value < 0 {
			bad(f.name, f.value, "are positive numbers, and 0 for no limit")
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"IdleTimeout", o.IdleTimeout}, {"ReadTimeout", o.ReadTimeout}, {"WriteTimeout", o.WriteTimeout}, {"Lifetime", o.Lifetime}} {
		if f.value < 0 {
			bad(f.name, f.value, "are positive times, and 0 for no limit")
		}
	}
	for _, f := range []struct {
		name  string
		value conns.Rate
	}{{"AcceptRate", o.AcceptRate}, {"AddressRate", o.AddressRate}} {
		if r := f.value; !(r.PerSecond >= 0 && r.PerSecond <= 1e9) || r.Burst < 0 {
			bad(f.name, fmt.Sprintf("%+v", r), "are 0 to 1e9 per second, and no negative burst")
		}
	}
	if j := o.LifetimeJitter; !(j >= 0 && j <= 1) {
		bad("LifetimeJitter", j, "are 0 to 1")
	}
	if !o.Evict.Valid() {
		bad("Evict", o.Evict, "are conns.Nobody, Oldest, Idlest and Random")
	}
	for name, a := range o.Alarms {
		a.check(name, bad)
	}
	return errors.Join(faults...)
}

// limits are those that connections are held to.
func (o Options) limits() conns.Limits {
	return conns.Limits{
		HandshakeTimeout: o.HandshakeTimeout, MaxHandshakes: o.MaxHandshakes,
		PerAddress: o.MaxPerAddress, AddressRate: o.AddressRate,
		IdleTimeout: o.IdleTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		Lifetime: o.Lifetime, LifetimeJitter: o.LifetimeJitter, RestAfter: o.RestAfter, Grace: o.ShutdownTimeout,
	}
}

// check reports every fault of what a listener is to be made of.
func check(ref string, t transport.Transport, o Options, p protocol.Protocol) error {
	faults := []error{o.validate()}
	if ref == "" {
		faults = append(faults, fmt.Errorf("%w: ref \"\": a listener needs a name", ErrBadOption))
	}
	if p == nil {
		faults = append(faults, fmt.Errorf("%w: protocol nil: a listener needs one", ErrBadOption))
	}
	faults = append(faults, checkTransport(t, o.Addr))
	return errors.Join(faults...)
}

func checkTransport(t transport.Transport, addr string) error {
	if t == nil {
		return fmt.Errorf("%w: transport nil: use transport.TCP{}, transport.TLS{…} or one of your own", ErrBadOption)
	}
	var faults []error
	if v, ok := t.(transport.Validator); ok {
		if err := v.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: transport %s: %w", ErrBadOption, t.Name(), err))
		}
	}
	switch transport.Innermost(t).(type) { // others have addresses of their own
	case transport.TCP, *transport.TCP, transport.TLS, *transport.TLS:
		if _, err := transport.ParseAddr(addr); err != nil {
			faults = append(faults, fmt.Errorf("%w: Addr: %w", ErrBadOption, err))
		}
	}
	return errors.Join(faults...)
}

// waiting names the fields that differ and take effect at the next resume only.
func (o Options) waiting(next Options) []string {
	var names []string
	if o.Addr != next.Addr {
		names = append(names, "Addr")
	}
	if o.NumAcceptors != next.NumAcceptors {
		names = append(names, "NumAcceptors")
	}
	if o.NumListenSockets != next.NumListenSockets {
		names = append(names, "NumListenSockets")
	}
	if (o.PostListen == nil) != (next.PostListen == nil) || next.PostListen != nil {
		names = append(names, "PostListen")
	}
	return slices.Clip(names)
}
