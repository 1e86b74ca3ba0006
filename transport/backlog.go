package transport

import (
	"errors"
	"net"
)

// Backlogged reports whether connections wait in the kernel's queue to be accepted on ln:
// whether Accept would return at once. It takes nothing from the queue and never waits.
// It works on the listeners of [TCP] and [TLS] and those of package net, on Unix systems;
// the error is errors.ErrUnsupported for others, and net.ErrClosed after Close.
func Backlogged(ln net.Listener) (bool, error) { return backlogged(ln) }

// CloseBacklog cuts the kernel's queue of ln to the least that the system knows, so that
// those who wait already can be served and hardly anybody comes after them: on Linux one
// more gets in whenever the queue is empty. Clients that find it full keep trying,
// over TCP; on a Unix socket they are refused.
//
// Who must not wait in vain is a client of this process only, so for an inherited socket, of
// which the queue outlives us, the error is errors.ErrUnsupported, as it is where
// [Backlogged]'s is.
func CloseBacklog(ln net.Listener) error {
	if _, ok := ln.(*inheritedListener); ok {
		return errors.ErrUnsupported
	}
	return setBacklog(ln, leastBacklog)
}
