// Package ranch runs listeners: it opens listening sockets, accepts connections under a cap that can
// change at any time, and has each connection served by a protocol.
//
//	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
//		_, err := io.WriteString(conn, "hello\n")
//		return err
//	})
//	opts := ranch.Options{Addr: "127.0.0.1:5555", MaxConnections: 100}
//	l, err := ranch.StartListener("hello", transport.TCP{}, opts, hello)
//	…
//	l.SetMaxConnections(200) // while it runs
//	l.Stop()                 // waits for connections to end
//
// # The cap
//
// An acceptor reserves a slot before it accepts, so MaxConnections is never exceeded: at the cap
// acceptors wait, and clients wait in the kernel's queue, where they are not refused. A connection
// releases its slot when its socket is closed.
//
// # The end of a connection
//
// A connection is asked to stop, for instance because its listener stops, in two ways: its context is
// cancelled, and its reads fail, at once. Writes still work, so a protocol that answers what it
// has read and returns when a read fails ends in order. Connections that remain after the
// ShutdownTimeout are closed. Every end has a [conns.Reason].
//
// # Names
//
// Listeners have names. The functions of this package, which are named after those of Ranch, find a
// listener of [Default] by its name; everything else is a method of [Listener].
package ranch

import (
	"context"
	"errors"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Default is the server on which the functions of this package act.
var Default = new(Server)

// StartListener starts a listener on [Default]; see [Server.StartListener].
func StartListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	return Default.StartListener(ref, t, opts, p)
}

// StopListener stops a listener as [Listener.Stop] does. Of several concurrent calls one stops the
// listener; the others wait for that and return [ErrNotFound].
func StopListener(ref string) error {
	return Default.do("stop", ref, func(l *Listener) error { return notFoundIfStopped(l.Stop()) })
}

// notFoundIfStopped is for functions that find a listener by its name: one that has been stopped in
// the meantime has none.
func notFoundIfStopped(err error) error {
	var e *Error
	if errors.Is(err, ErrStopped) && errors.As(err, &e) {
		return opErr(e.Op, e.Ref, ErrNotFound)
	}
	return err
}

// SuspendListener stops accepting; see [Listener.Suspend].
func SuspendListener(ref string) error { return Default.do("suspend", ref, (*Listener).Suspend) }

// ResumeListener accepts again; see [Listener.Resume].
func ResumeListener(ref string) error { return Default.do("resume", ref, (*Listener).Resume) }

// SetMaxConnections changes the cap; 0 admits no connection. See [Listener.SetMaxConnections].
func SetMaxConnections(ref string, n int) error {
	return Default.do("set", ref, func(l *Listener) error { return l.SetMaxConnections(n) })
}

// MaxConnections returns the cap.
func MaxConnections(ref string) (n int, err error) {
	err = Default.do("get", ref, func(l *Listener) error { n = l.gate.State().Limit; return nil })
	return n, err
}

// SetProtocol changes the protocol of connections that are accepted from now on.
func SetProtocol(ref string, p protocol.Protocol) error {
	return Default.do("set", ref, func(l *Listener) error { return l.SetProtocol(p) })
}

// WaitForConnections waits for a number of active connections; see [Listener.WaitForConnections].
func WaitForConnections(ctx context.Context, ref string, op Op, n int) error {
	return Default.do("wait", ref, func(l *Listener) error { return l.WaitForConnections(ctx, op, n) })
}

// RemoveConnection stops counting conn against the cap of its listener: its slot is released
// while it lives on. Calling it again has no effect.
func RemoveConnection(conn *transport.Conn) { conns.Remove(conn) }

// Drain drains listeners of [Default], all of them if none is named; see [Server.Drain].
func Drain(ctx context.Context, refs ...string) error { return Default.Drain(ctx, refs...) }

// Info describes a listener; see [Listener.Info].
func Info(ref string) (info ListenerInfo, err error) {
	err = Default.do("get", ref, func(l *Listener) error { info = l.Info(); return nil })
	return info, err
}
