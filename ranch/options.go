package ranch

import (
	"errors"
	"fmt"
	"log/slog"
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
	return errors.Join(faults...)
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
