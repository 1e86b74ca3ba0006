// Package backlog looks at and changes the kernel's queue of connections that a listening socket
// has not accepted yet. It works on the listeners of package net, on Unix systems; the error is
// errors.ErrUnsupported elsewhere, and net.ErrClosed after Close.
package backlog

import (
	"errors"
	"net"
)

// Set changes the length of the queue of ln, in connections: listen(2) is called again, because
// package net always asks for the system's maximum.
func Set(ln net.Listener, n int) error { return set(ln, n) }

// Pending reports whether Accept on ln would return at once. It takes nothing from the queue and
// never waits.
func Pending(ln net.Listener) (bool, error) { return pending(ln) }

// Inherited is implemented by listeners whose queue outlives this process.
type Inherited interface{ Inherited() }

// Shrink cuts the queue of ln to the shortest length that the system has, so that the connections
// in it can be accepted while few are added. Linux still adds one whenever the queue is empty. A
// TCP client that finds the queue full goes on trying; on a Unix socket it is refused. The queue of
// an [Inherited] listener is left alone: the next process accepts its connections. Then the error
// is errors.ErrUnsupported.
func Shrink(ln net.Listener) error {
	if _, ok := ln.(Inherited); ok {
		return errors.ErrUnsupported
	}
	return set(ln, shortest)
}
