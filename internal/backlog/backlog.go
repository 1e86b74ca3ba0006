// Package backlog inspects and changes the backlog of listening sockets: the kernel's queue of
// connections that were not accepted yet. It works on the listeners of package net on Unix systems.
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

// Length returns the number of connections in the queue of ln, and the length of the queue. Only TCP
// sockets on Linux report them; otherwise the error is errors.ErrUnsupported.
func Length(ln net.Listener) (n, limit int, err error) { return length(ln) }

// Inherited is implemented by listeners of inherited sockets, whose queue outlives this process.
type Inherited interface{ Inherited() }

// Shrink reduces the queue of ln to the shortest length of the system, so that its connections can
// be accepted while few are added. Linux still adds one connection whenever the queue is empty. A
// TCP client that finds the queue full retries; a client of a Unix socket is refused. The queue of
// an [Inherited] listener is not changed, because the next process accepts its connections: the
// error is errors.ErrUnsupported.
func Shrink(ln net.Listener) error {
	if _, ok := ln.(Inherited); ok {
		return errors.ErrUnsupported
	}
	return set(ln, shortest)
}
