// Package backlog inspects and changes the backlog of listening sockets: the kernel's queue of
// connections that are not accepted yet. It works on the listeners of package net on Unix systems.
// Elsewhere the error is errors.ErrUnsupported; after Close it is net.ErrClosed.
package backlog

import (
	"errors"
	"net"
)

// Set changes the length of the queue of ln, in connections, by another listen(2): package net
// always requests the maximum of the system.
func Set(ln net.Listener, n int) error { return set(ln, n) }

// Pending reports whether Accept on ln would return at once. It does not wait, and takes no
// connection from the queue.
func Pending(ln net.Listener) (bool, error) { return pending(ln) }

// Length returns the number of connections in the queue of ln, and the length of the queue. Only
// TCP sockets on Linux report them; otherwise the error is errors.ErrUnsupported.
func Length(ln net.Listener) (n, limit int, err error) { return length(ln) }

// Inherited is implemented by listeners of inherited sockets, whose queue outlives this process.
type Inherited interface{ Inherited() }

// Shared is implemented by listeners whose queue can be shared with another process while they are
// open.
type Shared interface {
	// Shared reports whether another process accepts from the queue, or will after this one.
	Shared() bool
}

// Outlives reports whether the queue of ln, or of a listener that it wraps and returns by Unwrap,
// outlives this process. The outermost listener that implements [Shared] or [Inherited] decides.
func Outlives(ln net.Listener) bool {
	for {
		switch l := ln.(type) {
		case Shared:
			return l.Shared()
		case Inherited:
			return true
		case interface{ Unwrap() net.Listener }:
			ln = l.Unwrap()
		default:
			return false
		}
	}
}

// Shrink reduces the queue of ln to the shortest length of the system, so that its connections can
// be accepted while few are added. Linux still adds one connection whenever the queue is empty. A
// TCP client that finds the queue full retries; a client of a Unix socket is refused. A queue that
// [Outlives] this process is not changed, because another process accepts its connections: the
// error is errors.ErrUnsupported.
func Shrink(ln net.Listener) error {
	if Outlives(ln) {
		return errors.ErrUnsupported
	}
	return set(ln, shortest)
}
