// Package ranch is the life of listeners: it opens sockets, accepts connections under a
// cap that can change at any time, and has each served by a protocol.
//
//	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
//		_, err := io.WriteString(conn, "hello\n")
//		return err
//	})
//	l, err := ranch.StartListener("hello", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:5555", MaxConnections: 100}, hello)
//	…
//	ranch.SetMaxConnections("hello", 200) // while it runs
//	ranch.StopListener("hello")           // waits for connections to end
//
// # The cap
//
// An acceptor takes a slot before it accepts, so MaxConnections is never exceeded: at
// the cap the acceptors are parked, and clients wait in the kernel's queue, where
// nobody refuses them. A connection gives its slot back when its socket is closed.
//
// # The end
//
// A connection that is to end, because its listener stops, is told so in two ways: its context
// is cancelled, and its reads fail, at once. Writes still work, so a protocol that
// answers what it has read and returns when a read fails ends in order. What is left
// after the ShutdownTimeout is closed. Every end has a [conns.Reason].
//
// # Locks
//
// Operations on a listener (start, suspend, resume, stop) are made one at a time by the
// mutex op; state guards its fields for a few instructions; each listening socket has a
// mutex for its replacement. They are taken in this order: op, state; op, a socket's,
// the gate's. The server's map has a mutex that is never held while another is taken.
package ranch

import (
	"context"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Default is the server on which the functions of this package act.
var Default = new(Server)

// StartListener starts a listener of that name; see [Server.StartListener].
func StartListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	return Default.StartListener(ref, t, opts, p)
}

// StopListener stops a listener and frees its name; see [Server.StopListener].
func StopListener(ref string) error { return Default.StopListener(ref) }

// SuspendListener closes the listening sockets; connections live on. It may be repeated.
func SuspendListener(ref string) error { return Default.SuspendListener(ref) }

// ResumeListener listens again on the same port. It may be repeated.
func ResumeListener(ref string) error { return Default.ResumeListener(ref) }

// SetMaxConnections changes the cap, effective at once. 0 admits nobody, [Unlimited]
// everybody; see [Listener.SetMaxConnections].
func SetMaxConnections(ref string, n int) error { return Default.SetMaxConnections(ref, n) }

// MaxConnections returns the cap.
func MaxConnections(ref string) (int, error) { return Default.MaxConnections(ref) }

// SetProtocol changes the protocol of connections accepted from now on.
func SetProtocol(ref string, p protocol.Protocol) error { return Default.SetProtocol(ref, p) }

// Protocol returns the protocol of connections accepted now.
func Protocol(ref string) (protocol.Protocol, error) { return Default.Protocol(ref) }

// SetTransportOptions changes a listener's transport (nil leaves it) and options, and
// names those that wait for the next resume; see [Listener.SetOptions].
func SetTransportOptions(ref string, t transport.Transport, opts Options) (waiting []string, err error) {
	return Default.SetTransportOptions(ref, t, opts)
}

// TransportOptions returns a listener's options with their defaults.
func TransportOptions(ref string) (Options, error) { return Default.TransportOptions(ref) }

// WaitForConnections returns when the number of active connections is as op and n say,
// or the cause of ctx when that ends first.
func WaitForConnections(ctx context.Context, ref string, op Op, n int) error {
	return Default.WaitForConnections(ctx, ref, op, n)
}

// RemoveConnection stops counting conn against its listener's cap: its slot is free for
// another while it lives on. Repeated calls do nothing.
func RemoveConnection(conn *transport.Conn) { conns.Remove(conn) }

// Drain stops listeners, all of them if none is named, with the end of ctx as the limit
// for their connections; see [Server.Drain].
func Drain(ctx context.Context, refs ...string) error { return Default.Drain(ctx, refs...) }

// Connections returns the live connections of a listener, oldest first.
func Connections(ref string) ([]conns.Info, error) { return Default.Connections(ref) }

// Select returns the live connections of a listener that q asks for, and how many there are
// of which they are a part.
func Select(ref string, q conns.Query) (page []conns.Info, total int, err error) {
	return Default.Select(ref, q)
}

// Ended returns the connections of a listener that have ended last, the latest first.
func Ended(ref string) ([]conns.Ended, error) { return Default.Ended(ref) }

// Trace traces connections of the listeners named, all if none is; see [Server.Trace].
func Trace(t conns.Trace, refs ...string) (stop func(), err error) { return Default.Trace(t, refs...) }

// SuspendAll stops accepting on every listener.
func SuspendAll() error { return Default.SuspendAll() }

// ResumeAll accepts again on every listener.
func ResumeAll() error { return Default.ResumeAll() }

// Kill closes the connection with that id at once.
func Kill(id uint64) error { return Default.Kill(id) }

// Info returns what a listener is and has done.
func Info(ref string) (ListenerInfo, error) { return Default.Info(ref) }

// InfoAll returns what each listener is and has done, sorted by name.
func InfoAll() []ListenerInfo { return Default.InfoAll() }

// Listeners returns the names of all listeners, sorted.
func Listeners() []string { return Default.Listeners() }
