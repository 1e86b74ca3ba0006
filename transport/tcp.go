package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"goranch/internal/backlog"
	"goranch/internal/listenaddr"
	"goranch/internal/option"
)

// NoKeepAlive is the KeepAlive of [TCP] that disables keepalive.
const NoKeepAlive time.Duration = -1

// LingerReset is the Linger of [TCP] that resets connections.
const LingerReset = -1

// TCP is the transport for TCP over IPv4 and IPv6, and for Unix stream sockets, which ignore the
// fields that concern TCP only. The zero value is ready to use.
type TCP struct {
	// Network is "tcp", "tcp4" or "tcp6": the address family. "tcp6" sets IPV6_V6ONLY, so that an
	// IPv4 listener can use the same port. "" is "tcp4" for an IPv4 address, and "tcp" otherwise:
	// unlike with package net, "0.0.0.0:80" does not listen on IPv6.
	Network string

	// Backlog is the number of connections that the kernel queues for Accept. 0 is the maximum of
	// the system (net.core.somaxconn on Linux), to which larger values are reduced. Negative values
	// are refused. An inherited socket keeps its backlog if Backlog is 0.
	Backlog int

	// Nagle enables Nagle's algorithm, which delays small writes. It is disabled by default
	// (TCP_NODELAY), as in package net and in Ranch.
	Nagle bool

	// KeepAlive is the idle time before the first keepalive probe; 0 is 15 s; [NoKeepAlive], like
	// any negative value, disables keepalive. KeepAliveInterval is the time between probes; 0 is 15
	// s. KeepAliveCount is the number of unanswered probes after which the connection is closed; 0
	// is 9. A negative interval or count keeps the value of the system. Durations are rounded up to
	// whole seconds.
	KeepAlive         time.Duration
	KeepAliveInterval time.Duration
	KeepAliveCount    int

	// Linger is the time in seconds for which Close waits while the kernel sends the remaining
	// data. 0 does not wait: the kernel sends the data in the background. [LingerReset], like any
	// negative number, discards the data and resets the connection.
	Linger int

	// ReadBuffer and WriteBuffer are the sizes of the kernel's buffers in bytes (SO_RCVBUF,
	// SO_SNDBUF). 0 lets the kernel adjust them. Negative values are refused.
	ReadBuffer  int
	WriteBuffer int

	// SendTimeout is the time for which a write waits for a peer that reads too slowly. 0 is 30 s;
	// [NoTimeout], like any negative value, is no limit. After it the write fails with
	// [ErrSendTimeout], and the connection is closed, because it is unknown how much data the peer
	// has received.
	SendTimeout time.Duration
	// KeepOnSendTimeout leaves the connection open after a send timeout. The write returns the
	// number of bytes that were sent.
	KeepOnSendTimeout bool

	// Multipath enables Multipath TCP where the system supports it. Unlike in package net it is
	// disabled by default, because accepting is then cheaper.
	Multipath bool

	// DeferAccept (TCP_DEFER_ACCEPT, Linux) is the time for which the kernel withholds from Accept
	// a client that has sent nothing. After it the connection is accepted, or dropped by the
	// kernel. 0 disables it; values are rounded up to whole seconds; negative values are refused.
	// It does not suit protocols in which the server sends first.
	DeferAccept time.Duration

	// FastOpen (TCP Fast Open, Linux) is the number of clients that may be in the handshake with
	// data already sent, if the system allows it (net.ipv4.tcp_fastopen). With any positive number,
	// Dial delays connecting until the first write, which carries the request for the connection:
	// the client must write first, and that write returns the error if there is no server. 0
	// disables it; negative values are refused.
	FastOpen int

	// UnixMode is the permission of the file of a Unix socket, such as 0o660. 0 leaves it to the
	// umask of the process. The file never has more permission than this, even while Listen runs.
	// The file of an inherited socket is not changed.
	UnixMode fs.FileMode

	// Control, if set, is called with each socket before it is bound or connected, after the fields
	// above were applied, for options without a field. An inherited socket is already bound. Its
	// error fails the call. On Linux, accepted sockets inherit the options of the listening socket.
	Control func(network, address string, c syscall.RawConn) error
}

// Name returns "tcp".
func (TCP) Name() string { return "tcp" }

// Secure returns false.
func (TCP) Secure() bool { return false }

// The largest values that the kernels accept.
const (
	maxSeconds        = 32767
	maxKeepAliveCount = 127
)

// Validate reports all fields with values that cannot be used.
func (t TCP) Validate() error {
	var f option.Faults
	t.check(&f)
	return f.Err()
}

func (t TCP) check(f *option.Faults) {
	switch t.Network {
	case "", "tcp", "tcp4", "tcp6":
	default:
		f.Bad("Network", fmt.Sprintf("%q", t.Network), `"tcp", "tcp4", "tcp6" and ""`)
	}
	count := func(field string, n int, zero string) {
		if n < 0 || n > math.MaxInt32 {
			f.Bad(field, n, fmt.Sprintf("positive numbers up to %d, and 0 for %s", math.MaxInt32, zero))
		}
	}
	atMost := func(field string, d time.Duration) {
		if d > maxSeconds*time.Second {
			f.Bad(field, d, fmt.Sprintf("durations up to %v", maxSeconds*time.Second))
		}
	}
	count("Backlog", t.Backlog, "the maximum of the system")
	count("ReadBuffer", t.ReadBuffer, "the size that the kernel chooses")
	count("WriteBuffer", t.WriteBuffer, "the size that the kernel chooses")
	count("FastOpen", t.FastOpen, "off")
	atMost("KeepAlive", t.KeepAlive)
	atMost("KeepAliveInterval", t.KeepAliveInterval)
	if t.KeepAliveCount > maxKeepAliveCount {
		f.Bad("KeepAliveCount", t.KeepAliveCount, fmt.Sprintf("numbers up to %d", maxKeepAliveCount))
	}
	if t.DeferAccept < 0 || t.DeferAccept > maxSeconds*time.Second {
		f.Bad("DeferAccept", t.DeferAccept, fmt.Sprintf("positive durations up to %v, and 0 for off", maxSeconds*time.Second))
	}
	if t.Linger > maxSeconds {
		f.Bad("Linger", t.Linger, fmt.Sprintf("numbers of seconds up to %d", maxSeconds))
	}
	if t.UnixMode&^fs.ModePerm != 0 {
		f.Bad("UnixMode", t.UnixMode, "permission bits, 0 to 0o777")
	}
}

// Listen opens a listening socket on addr; see [ParseAddr] for its forms. The file of a Unix socket
// is replaced if its process has ended; if it accepts connections, the error is syscall.EADDRINUSE.
// Close removes the file, unless it has been replaced.
//
// "fd:N" is the inherited descriptor N. "systemd:NAME" is a socket of socket activation
// (LISTEN_FDS) with that name or, if there is none, with that index, counted from 0; of several
// with that name, the first without a listener. Listen duplicates an inherited socket: after Close
// it stays open, the kernel still queues clients, and Listen can be called again. Its other owners
// see the options that are set; Network is ignored. Errors wrap [ErrNotInherited].
func (t TCP) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return t.listen(ctx, addr, listening)
}

// ListenShared implements [PortSharer] by SO_REUSEPORT. The error wraps errors.ErrUnsupported for
// Unix and inherited sockets, and on systems other than Linux.
func (t TCP) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	return t.listen(ctx, addr, sharing)
}

func (t TCP) listen(ctx context.Context, addr string, r role) (net.Listener, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	a, err := t.parse(addr)
	if err != nil {
		return nil, err
	}
	if r == sharing && (a.Network == "unix" || a.Inherited() || !canReusePort) {
		return nil, fmt.Errorf("address %q: several sockets on one port: %w", addr, errors.ErrUnsupported)
	}
	if a.Inherited() {
		return t.listenInherited(a)
	}
	if a.Network == "unix" && a.Address[0] != '@' {
		a.Address = absolute(a.Address)
	}
	lc := net.ListenConfig{Control: t.control(r), KeepAlive: NoKeepAlive}
	lc.SetMultipathTCP(t.Multipath)
	if !listenerInherits && t.KeepAlive >= 0 {
		lc.KeepAlive, lc.KeepAliveConfig = 0, t.keepAlive()
	}
	var ln net.Listener
	if a.Network == "unix" {
		ln, err = listenUnix(ctx, &lc, a.Address, t.UnixMode)
	} else {
		ln, err = lc.Listen(ctx, a.Network, a.Address)
	}
	if err != nil {
		return nil, err
	}
	if t.Backlog > 0 {
		if err := backlog.Set(ln, t.Backlog); err != nil {
			ln.Close()
			return nil, fmt.Errorf("backlog %d: %w", t.Backlog, err)
		}
	}
	return ln, nil
}

// Dial connects to addr with the socket options that Listen gives to accepted connections.
func (t TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	a, err := t.parse(addr)
	if err != nil {
		return nil, err
	}
	if a.Inherited() {
		return nil, fmt.Errorf("address %q: %w: an inherited socket cannot be dialled", addr, ErrBadAddr)
	}
	d := net.Dialer{Control: t.control(dialling), KeepAlive: NoKeepAlive}
	d.SetMultipathTCP(t.Multipath)
	if t.KeepAlive >= 0 {
		d.KeepAlive, d.KeepAliveConfig = 0, t.keepAlive()
	}
	nc, err := d.DialContext(ctx, a.Network, a.Address)
	if err != nil {
		return nil, err
	}
	if err := t.tune(nc, true); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// Handshake sets the options that an accepted socket does not inherit, and returns nc.
func (t TCP) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	return nc, t.tune(nc, !listenerInherits)
}

// tune sets the options that need an open connection. Package net sets TCP_NODELAY on all
// connections, so Nagle is enabled here. full also sets the options that accepted sockets inherit
// on some systems.
func (t TCP) tune(nc net.Conn, full bool) error {
	if !t.Nagle && (!full || t.Linger == 0) {
		return nil
	}
	if w, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = w.NetConn()
	}
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	var err error
	if t.Nagle {
		err = tc.SetNoDelay(false)
	}
	if full && t.Linger != 0 {
		err = errors.Join(err, tc.SetLinger(max(t.Linger, 0)))
	}
	return err
}

func (t TCP) parse(addr string) (listenaddr.Addr, error) {
	a, err := listenaddr.Parse(addr)
	if err != nil || a.Network != "tcp" {
		return a, err
	}
	if t.Network != "" {
		a.Network = t.Network
	} else if ap, err := netip.ParseAddrPort(a.Address); err == nil && ap.Addr().Is4() {
		a.Network = "tcp4"
	}
	return a, nil
}

func (t TCP) keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: t.KeepAlive, Interval: t.KeepAliveInterval, Count: t.KeepAliveCount}
}

func (t TCP) sendLimit() sendLimit {
	d := t.SendTimeout
	option.Default(&d, 30*time.Second)
	return sendLimit{timeout: max(d, 0), keepOpen: t.KeepOnSendTimeout, lingers: t.Linger > 0}
}

// role is the use of a socket.
type role int

const (
	dialling role = iota
	listening
	sharing // listening on a port with other sockets of this process
)

func (t TCP) control(r role) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = t.setOptions(fd, network, r) }); cerr != nil {
			return cerr
		}
		if err != nil {
			return err
		}
		if t.Control != nil {
			return t.Control(network, address, c)
		}
		return nil
	}
}
