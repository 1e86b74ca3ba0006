// Package engine provides the operations on connections and transports that the packages of this
// module need beyond the public API. Package transport, and transport/proxy for BehindProxy,
// implement them and set the variables below in their init functions.
package engine

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"goranch/internal/idle"
	"goranch/internal/throttle"
)

const (
	ReadSize       = 64 << 10        // the largest max of [PooledReader.Next], in bytes
	MaxPeek        = 64 << 10        // the largest n of Peek, in bytes
	UpgradeTimeout = 5 * time.Second // the limit of an upgrade whose context has no deadline
)

// Conn is a *transport.Conn with the operations of this package.
type Conn interface {
	// Conn returns the *transport.Conn.
	Conn() net.Conn
	// Owner returns the owner given to Init; nil for a connection made by transport.NewConn.
	Owner() any
	// Progress returns a number that changes whenever the peer, or the kernel for it, has taken
	// bytes, also during a write.
	Progress() uint64
	// LimitRates makes l limit the bytes per second of the connection, from the next read and write
	// on, until its end. Only the first call has an effect.
	LimitRates(l *throttle.Limits)
	// Throttled returns how often reads had to wait because of LimitRates, and whether reads and
	// writes wait now.
	Throttled() (waits uint32, reads, writes bool)
	// Encrypted reports whether the payload is carried by TLS.
	Encrypted() bool
	// Receiving returns a number that is odd while the peer is in the middle of a message, and
	// differs for each message.
	Receiving() uint32
	// RestoreReceiving undoes a SetReceiving(false): n is what Receiving returned before it. Only
	// the goroutine that reads the connection calls it.
	RestoreReceiving(n uint32)
	// Seal ends the count of bytes, and returns it. A read or a write in another goroutine may have
	// transferred bytes that are not counted yet: they are reported to the owner if it has a method
	// CountLate(read, written uint64). Seal takes no lock and may be called again.
	Seal() (read, written uint64)
	// Bytes returns the count of bytes, and whether Seal was called.
	Bytes() (read, written uint64, sealed bool)
	// PooledReader returns a reader that holds no buffer while it waits. Until it is released,
	// nothing else may read the connection. If inline is not nil and allows reads of the lead, the
	// reader of a plain socket does not wait after its first reads, nor while many goroutines
	// wait: Next returns [idle.ErrPark] instead.
	PooledReader(inline *idle.InlinePolicy) PooledReader
	// TryNext is Next without waiting, for the lead that found the connection readable. It returns
	// [idle.ErrPark] if there is no data, and [idle.ErrNeedsGoroutine] if the connection has to be
	// read by Next. more reports that there may be more data.
	TryNext(l *idle.Lead, max int) (b []byte, more bool, err error)

	// RequestPark and Park are those of [idle.Reads]. CanPark reports whether Park would keep a
	// plain socket registered.
	RequestPark() bool
	CanPark() bool
	Park(w idle.Waker, inline *idle.InlinePolicy) bool

	// TryWrite writes as much of p as the socket takes without waiting, and returns the number of
	// bytes taken: fewer than len(p), without an error, if the peer reads too slowly or another
	// write is in progress.
	//
	// A TLS record must be sent completely. Over TLS, TryWrite therefore takes all of p or nothing,
	// and keeps the part of the record that the socket did not take. While Unflushed reports such a
	// part, TryWrite takes nothing. Flush, or any Write, sends it.
	TryWrite(p []byte) (int, error)
	// CanTryWrite reports whether TryWrite ever takes anything.
	CanTryWrite() bool
	// Unflushed reports whether TryWrite has kept a part of a record.
	Unflushed() bool
	// Flush sends the part of a record that TryWrite has kept, within the send timeout, and does
	// nothing if there is none.
	Flush() error

	// UpgradePeeked is transport.Conn.Upgrade for a connection on which Peek has read the beginning
	// of the handshake. t is a transport.Transport.
	UpgradePeeked(ctx context.Context, t any) error
	// HasTLS reports whether the TLS method of the connection returns a state, which is large.
	HasTLS() bool
	// TLSConn returns the connection of crypto/tls that carries the payload; nil if there is none,
	// or if Peek has read payload ahead. From then on, only the result may be read and written, and
	// its owner closes it; onEnd is called by the goroutine that closes it. The counters of the
	// connection and its tracer see encrypted bytes, and the counters include those of the
	// handshake. TLSConn is called once, by the owner of the connection.
	TLSConn(onEnd func()) *tls.Conn
	// SetTracer has each read and write reported to tracer, a func(transport.TraceEvent); nil ends
	// that. It may be called from any goroutine.
	SetTracer(tracer any)
}

// Receiver is implemented by both ends of a connection in memory.
type Receiver interface {
	// Receive has data called with all that arrives, instead of buffering it for Read, in the
	// goroutine that writes it. data must neither block, nor keep its argument, nor use the
	// connection. When the stream ends or fails, or reads are interrupted, ended is called once, in
	// a goroutine of its own. Receive is called once, when nothing reads the connection any more.
	Receive(data func([]byte), ended func())
}

// ReadableWaiter is implemented by connections that can wait for data without a buffer of the
// caller.
type ReadableWaiter interface {
	// WaitReadable returns when Read would not block: there is data, or Read fails.
	WaitReadable()
}

// EndNotifier is implemented by accepted connections that send the peer a reason when they are
// closed.
type EndNotifier interface {
	// NotifyEnd is called before the connection is closed because its protocol has returned err.
	// cause is the reason for which it was asked to stop, nil if it was not.
	NotifyEnd(err, cause error)
}

// PooledReader reads a connection into buffers from a pool, and holds none while it waits. It is
// used by one goroutine.
type PooledReader interface {
	// Next waits for data and returns the data that has arrived, at most max bytes; max is 1 to
	// [ReadSize]. The data is valid until the next call and may be modified. Data and an error may
	// be returned together. The error is io.EOF at the end of the stream, and [idle.ErrPark] if the
	// connection can be parked.
	Next(max int) ([]byte, error)
	// Release returns the buffer of the last call of Next to the pool.
	Release()
	// Free is Release for a reader that is not used any more.
	Free()
}

// DialSteps are the two steps of Dial, between which a header can be sent in plain text.
type DialSteps struct {
	// Connect opens the connection.
	Connect func(ctx context.Context, addr string) (net.Conn, error)
	// Client runs the client's side of the handshake on nc, and closes nc on error.
	Client func(ctx context.Context, nc net.Conn, addr string) (net.Conn, error)
}

// Package transport sets these variables. conn is a *transport.Conn, t a transport.Transport.
var (
	// Init initializes the zero value of a transport.Conn that is part of a larger value. It is
	// called once, before all other methods.
	Init func(conn net.Conn, t any, nc net.Conn, owner any)
	// Of returns conn with the operations of this package.
	Of func(conn net.Conn) Conn
	// Plain reports whether the Handshake of t returns at once, so that it needs no time limit and
	// no goroutine.
	Plain func(t any) bool
	// StepsOf returns the steps of t's Dial. ok is false if t has no separate steps.
	StepsOf func(t any) (s DialSteps, ok bool)
	// Rebind returns the address to listen on again after a Listen on addr was bound to bound: it
	// names the port that was chosen for ":0", and for an inherited socket the same descriptor.
	Rebind func(addr string, bound net.Addr) string
	// Probe checks that no other process listens on addr, and returns the address with the port
	// that was chosen for ":0". Sockets that share their port could join those of another process
	// unnoticed. It checks TCP and TLS only.
	Probe func(ctx context.Context, t any, addr string) (string, error)
	// KeepSocketFile sets whether the socket file at path is kept when the listener that created it
	// is closed, because another process listens on the same socket.
	KeepSocketFile func(path string, keep bool)
)

// Adopter is a transport that wraps another one and differs from it only in Listen: it may return
// listening sockets that another process has opened.
type Adopter interface {
	// Adopted returns the address to which the socket for a Listen on addr is bound; ok is false if
	// there is none.
	Adopted(addr string) (bound string, ok bool)
}

// BehindProxy reports whether peer, the remote address of a socket of t, is a proxy whose headers t
// accepts: then the limits per address do not apply to peer. Package transport/proxy sets it.
var BehindProxy = func(t any, peer net.Addr) bool { return false }

// IsHeaderError reports whether the error of a handshake is that of a PROXY header. Package
// transport/proxy sets it.
var IsHeaderError = func(error) bool { return false }
