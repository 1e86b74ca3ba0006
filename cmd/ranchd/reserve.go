package main

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"goranch/internal/backlog"
	"goranch/internal/descriptors"
	"goranch/transport"
)

// reservedDescriptors are how many descriptors connections of operators can use when all others are
// open.
const reservedDescriptors = 16

// reserved returns a transport whose listeners accept from a reserve of descriptors when there are
// no others: operators connect when they are needed most. A nil reserve changes nothing.
func reserved(t transport.Transport, r *descriptors.Reserve) transport.Transport {
	if r == nil {
		return t
	}
	return reservedTransport{t, r}
}

type reservedTransport struct {
	transport.Transport
	reserve *descriptors.Reserve
}

// Unwrap implements transport.Unwrapper.
func (t reservedTransport) Unwrap() transport.Transport { return t.Transport }

func (t reservedTransport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := t.Transport.Listen(ctx, addr)
	if d, ok := ln.(deadlineListener); ok && err == nil {
		return reservedListener{d, t.reserve}, nil
	}
	return ln, err
}

type deadlineListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

type reservedListener struct {
	deadlineListener
	reserve *descriptors.Reserve
}

// Unwrap returns the listener of the transport, which knows whether its socket was inherited.
func (l reservedListener) Unwrap() net.Listener { return l.deadlineListener }

// acceptTime is how long an accept may use the reserve: the connection may have been reset in the
// meantime.
const acceptTime = 20 * time.Millisecond

// Accept accepts from the reserve only if a connection is pending: accept(2) fails for want of a
// descriptor even if none is.
func (l reservedListener) Accept() (net.Conn, error) {
	nc, err := l.deadlineListener.Accept()
	if !errors.Is(err, syscall.EMFILE) {
		return nc, err
	}
	if waiting, perr := backlog.Pending(l.deadlineListener); perr != nil || !waiting {
		return nil, err
	}
	l.reserve.Use(func() {
		l.SetDeadline(time.Now().Add(acceptTime))
		nc, err = l.deadlineListener.Accept()
		l.SetDeadline(time.Time{})
	})
	return nc, err
}
