// Package ranch provides listeners: it opens listening sockets, accepts connections up to a cap
// that can change at run time, and calls a protocol for each connection.
//
//	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
//		_, err := io.WriteString(conn, "hello\n")
//		return err
//	})
//	opts := ranch.Options{Addr: "127.0.0.1:5555", MaxConnections: 100}
//	l, err := ranch.StartListener("hello", transport.TCP{}, opts, hello)
//	if err != nil {
//		log.Fatal(err)
//	}
//	err = l.SetMaxConnections(200) // while it runs
//	…
//	err = l.Stop() // waits for connections to end
//
// # The cap
//
// An acceptor reserves a slot before it calls accept, so the number of connections never exceeds
// MaxConnections. At the cap acceptors wait, and clients wait in the kernel's queue, unless
// RefuseAfter says otherwise. A slot is released when the socket of its connection is closed.
//
// # The end of a connection
//
// When a connection is asked to stop, its context is cancelled with a cause and its reads fail at
// once. Writes still work, so a protocol that answers what it has read and returns when a read
// fails ends gracefully. Connections that remain after the ShutdownTimeout are closed. Every end
// has a [conns.Reason].
//
// # Names
//
// The functions of this package are named after those of Ranch. They find a listener of [Default]
// by its name; all other operations are methods of [Listener]. Functions and methods may be called
// from any goroutine.
package ranch

import (
	"context"
	"errors"
	"fmt"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// Default is the server on which the functions of this package act.
var Default = new(Server)

// StartListener starts a listener of [Default]; see [Server.StartListener].
func StartListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	return Default.StartListener(ref, t, opts, p)
}

// StopListener stops a listener; see [Listener.Stop]. Of several concurrent calls one stops it; the
// others return [ErrNotFound] when it has stopped.
func StopListener(ref string) error {
	return Default.do("stop", ref, func(l *Listener) error { return notFoundIfStopped(l.Stop()) })
}

// notFoundIfStopped returns the error of a stop by name: a listener that was stopped in the
// meantime has no name.
func notFoundIfStopped(err error) error {
	var e *opError
	if errors.Is(err, ErrStopped) && errors.As(err, &e) {
		return opErr(e.op, e.ref, ErrNotFound)
	}
	return err
}

// SuspendListener closes the listening sockets; see [Listener.Suspend].
func SuspendListener(ref string) error { return Default.do("suspend", ref, (*Listener).Suspend) }

// ResumeListener listens again; see [Listener.Resume].
func ResumeListener(ref string) error { return Default.do("resume", ref, (*Listener).Resume) }

// SetMaxConnections changes the cap; 0 admits no connection. See [Listener.SetMaxConnections].
func SetMaxConnections(ref string, n int) error {
	return Default.do("set", ref, func(l *Listener) error { return l.SetMaxConnections(n) })
}

// MaxConnections returns the cap, or [Unlimited].
func MaxConnections(ref string) (n int, err error) {
	err = Default.do("get", ref, func(l *Listener) error { n = l.gate.State().Limit; return nil })
	return n, err
}

// SetProtocol changes the protocol of later connections; see [Listener.SetProtocol].
func SetProtocol(ref string, p protocol.Protocol) error {
	return Default.do("set", ref, func(l *Listener) error { return l.SetProtocol(p) })
}

// WaitForConnections waits for a number of connections; see [Listener.WaitForConnections]. If
// another listener has taken the name since, it does not wait for that one, and the error says so.
func WaitForConnections(ctx context.Context, ref string, op Op, n int) error {
	return Default.do("wait", ref, func(l *Listener) error {
		err := l.WaitForConnections(ctx, op, n)
		if other, ferr := Default.Listener(ref); errors.Is(err, ErrStopped) && ferr == nil && other != l {
			err = fmt.Errorf("%w; another listener has its name now", err)
		}
		return err
	})
}

// RemoveConnection stops counting conn against the cap of its listener: its slot is released, and
// conn stays open. Further calls, and calls for other connections, have no effect.
func RemoveConnection(conn *transport.Conn) {
	if c, ok := engine.Of(conn).Owner().(interface{ Uncount() }); ok { // else no listener has accepted it
		c.Uncount()
	}
}

// Drain drains the named listeners of [Default], or all; see [Server.Drain].
func Drain(ctx context.Context, refs ...string) error { return Default.Drain(ctx, refs...) }

// Info describes a listener; see [Listener.Info].
func Info(ref string) (info ListenerInfo, err error) {
	err = Default.do("get", ref, func(l *Listener) error { info = l.Info(); return nil })
	return info, err
}
