// Package engine is what the packages of this module do with connections and transports beyond
// their public methods. It keeps these operations out of the public API: package transport (and
// transport/proxy) implements them and sets the variables below at its initialization; conns,
// protocol and others call them.
package engine

import (
	"context"
	"crypto/tls"
	"net"

	"goranch/internal/idle"
)

// ReadSize is the largest max of [PooledReader.Next], in bytes.
const ReadSize = 64 << 10

// Conn is a *transport.Conn with the operations of the engine.
type Conn interface {
	// Owner returns what was given to Init; nil for a connection made by transport.NewConn.
	Owner() any
	// PooledReader returns a reader that holds no buffer while it waits. Until it is released,
	// nothing else may read the connection.
	PooledReader() PooledReader

	// RequestPark and Park are those of [idle.Reads].
	RequestPark() bool
	Park(w idle.Waker) bool

	// TryWrite writes as much of p as the socket takes without waiting, and returns how much that
	// was: less than all of it, without an error, if the peer does not keep up, or while another
	// write is in progress.
	//
	// Over TLS a record cannot be left half written: TryWrite takes all of p or nothing, and keeps
	// the part of the record that the socket did not take. Unflushed reports that; then TryWrite
	// takes nothing until Flush, or any Write, has sent it.
	TryWrite(p []byte) (int, error)
	// CanTryWrite reports whether TryWrite ever takes anything.
	CanTryWrite() bool
	// Unflushed reports whether TryWrite has kept a part of a record.
	Unflushed() bool
	// Flush sends what TryWrite has kept, within the send timeout.
	Flush() error

	// UpgradePeeked is transport.Conn.Upgrade for a connection on which Peek has seen the
	// beginning of the handshake. t is a transport.Transport.
	UpgradePeeked(ctx context.Context, t any) error
	// TLSConn returns the connection of crypto/tls that carries the payload; nil if there is
	// none, or if Peek has read ahead of it. From then on only what is returned may be read
	// and written, and its owner closes it; closed is called in the goroutine that closes it. The
	// owner of the connection calls TLSConn once.
	TLSConn(closed func()) *tls.Conn
	// SetTracer has every read and write reported to a transport.Tracer; nil ends that. It may be
	// called from any goroutine.
	SetTracer(tracer any)
}

// PooledReader reads a connection into buffers from a pool, and holds none while it waits. It is
// used by one goroutine.
type PooledReader interface {
	// Next waits for data and returns what has arrived, at most max bytes; max is 1 to
	// [ReadSize]. The data is valid until the next call and may be changed. With data there may
	// be an error as well. The error is io.EOF at the end of the stream, and [idle.ErrPark] when
	// the connection can be parked.
	Next(max int) ([]byte, error)
	// Release gives back the buffer that is still held.
	Release()
}

// Set by package transport. conn is a *transport.Conn, t a transport.Transport.
var (
	// Init initializes the zero value of a transport.Conn that is part of a larger value. It is
	// called once, before anything else.
	Init func(conn net.Conn, t any, nc net.Conn, owner any)
	// Of returns conn with the operations of the engine.
	Of func(conn net.Conn) Conn
	// Plain reports whether the Handshake of t returns at once, so that it needs no time limit and
	// no goroutine of its own.
	Plain func(t any) bool
	// DialSteps returns the two steps of t's Dial, between which something can be sent to the
	// server in plain text: connect opens the connection, and client runs the client's side of
	// the handshake on it, closing it on error. ok is false if t has no such steps.
	DialSteps func(t any) (s DialStep, ok bool)
	// Rebind returns the address to Listen on in order to come back to where Listen(addr) has
	// bound: the port that was chosen for ":0", and for an inherited socket the same descriptor,
	// which nothing else can replace.
	Rebind func(addr string, bound net.Addr) string
)

// DialStep are the two steps of a Dial.
type DialStep struct {
	Connect func(ctx context.Context, addr string) (net.Conn, error)
	Client  func(ctx context.Context, nc net.Conn, addr string) (net.Conn, error)
}

// BehindProxy reports whether peer, the address of the other end of a socket of t, is a proxy that
// t expects to name the client: then the limits per address do not apply to it. Package
// transport/proxy sets it.
var BehindProxy = func(t any, peer net.Addr) bool { return false }
