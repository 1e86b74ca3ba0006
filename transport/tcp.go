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
)

// DefaultSendTimeout is how long a write may wait for a peer that takes nothing.
const DefaultSendTimeout = 30 * time.Second

// TCP is the transport for TCP over IPv4 and IPv6, and for Unix stream sockets. The
// zero value is ready to use. Fields that only TCP knows are ignored on Unix sockets.
type TCP struct {
	// Network is "tcp", "tcp4" or "tcp6": the family of addresses. "tcp6" sets
	// IPV6_V6ONLY, so that ":80" is free for an IPv4 listener as well. "" is "tcp4" for an
	// address that is written in IPv4, and "tcp" for others: unlike with package net,
	// "0.0.0.0:80" does not listen on IPv6 as well.
	Network string

	// Backlog is how many connections the kernel holds ready for accept. 0 is the
	// system's maximum (net.core.somaxconn on Linux), to which larger values are cut.
	// Negative values are refused. An inherited socket keeps its own unless this is set.
	Backlog int

	// Nagle leaves Nagle's algorithm on: small writes wait for more. The default is
	// off (TCP_NODELAY), as in net and in Ranch.
	Nagle bool

	// KeepAlive is the time without traffic before the first keepalive probe, 0 is
	// 15 s; negative switches keepalive off. KeepAliveInterval is the time between
	// probes, 0 is 15 s; KeepAliveCount the number of unanswered probes that end the
	// connection, 0 is 9. Negative interval or count leave the system's value. Whole
	// seconds count; fractions are rounded up.
	KeepAlive         time.Duration
	KeepAliveInterval time.Duration
	KeepAliveCount    int

	// Linger is what Close does with data the peer has not taken yet: 0 lets the
	// kernel go on sending it in the background, a positive number does so for that
	// many seconds at most, a negative one drops it and resets the connection.
	Linger int

	// ReadBuffer and WriteBuffer are the kernel's buffers in bytes (SO_RCVBUF,
	// SO_SNDBUF). 0 leaves them to the kernel, which sizes them by itself; negative
	// values are refused.
	ReadBuffer  int
	WriteBuffer int

	// SendTimeout is how long one write may wait for a peer that takes nothing or too
	// little. 0 is 30 s ([DefaultSendTimeout]), negative means no limit. When it
	// passes, the write fails with [ErrSendTimeout] and the connection is closed, for
	// nobody can know how much the peer has got.
	SendTimeout time.Duration
	// KeepOnSendTimeout leaves the connection open after a send timeout; the write
	// then says how many bytes went out.
	KeepOnSendTimeout bool

	// Multipath listens with Multipath TCP where the system has it. The default is
	// off, unlike in net: accepting is cheaper without.
	Multipath bool

	// DeferAccept (TCP_DEFER_ACCEPT, Linux) is how long a client that has sent nothing yet
	// is kept from accept; after that it is accepted all the same, or dropped by the
	// kernel. 0 is off; whole seconds count, fractions are rounded up; negative values are
	// refused. It is not for protocols whose server speaks first.
	DeferAccept time.Duration

	// FastOpen (TCP Fast Open, Linux) is how many clients may be in the handshake with
	// data already sent, where the system allows it (net.ipv4.tcp_fastopen). In Dial any
	// positive number sends the first write along with the connection's request: then the
	// client must write first, for nothing is sent before, and that the server is not
	// there is an error of that write. 0 is off; negative values are refused.
	FastOpen int

	// UnixMode is the permission of a Unix socket's file, such as 0o660. 0 leaves it
	// to the process' umask. The file never has more permission than this, not even
	// between its creation and the end of Listen. An inherited socket's file is left alone.
	UnixMode fs.FileMode

	// Control, if set, is called with each socket before it is bound or connected, after the
	// fields above were applied: for options that have no field here. An inherited socket is
	// bound already. Its error fails the call. On Linux accepted sockets inherit what is set on the listening one.
	Control func(network, address string, c syscall.RawConn) error
}

// Name returns "tcp".
func (TCP) Name() string { return "tcp" }

// Secure returns false.
func (TCP) Secure() bool { return false }

// What the systems' kernels take at most.
const (
	maxSeconds        = 32767
	maxKeepAliveCount = 127
)

// Validate reports every field whose value cannot be used.
func (t TCP) Validate() error {
	var faults []error
	switch t.Network {
	case "", "tcp", "tcp4", "tcp6":
	default:
		faults = append(faults, fmt.Errorf("option Network %q: allowed are \"tcp\", \"tcp4\" and \"tcp6\"", t.Network))
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"Backlog", t.Backlog}, {"ReadBuffer", t.ReadBuffer}, {"WriteBuffer", t.WriteBuffer}} {
		if f.value < 0 || f.value > math.MaxInt32 {
			faults = append(faults, fmt.Errorf("option %s %d: allowed are 0 (the system's) and positive numbers up to %d", f.name, f.value, math.MaxInt32))
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"KeepAlive", t.KeepAlive}, {"KeepAliveInterval", t.KeepAliveInterval}} {
		if f.value > maxSeconds*time.Second {
			faults = append(faults, fmt.Errorf("option %s %v: allowed are at most %v", f.name, f.value, maxSeconds*time.Second))
		}
	}
	if t.KeepAliveCount > maxKeepAliveCount {
		faults = append(faults, fmt.Errorf("option KeepAliveCount %d: allowed are at most %d", t.KeepAliveCount, maxKeepAliveCount))
	}
	if t.DeferAccept < 0 || t.DeferAccept > maxSeconds*time.Second {
		faults = append(faults, fmt.Errorf("option DeferAccept %v: allowed are 0 (off) to %v", t.DeferAccept, maxSeconds*time.Second))
	}
	if t.FastOpen < 0 || t.FastOpen > math.MaxInt32 {
		faults = append(faults, fmt.Errorf("option FastOpen %d: allowed are 0 (off) and positive numbers up to %d", t.FastOpen, math.MaxInt32))
	}
	if t.Linger > maxSeconds {
		faults = append(faults, fmt.Errorf("option Linger %d: allowed are at most %d seconds", t.Linger, maxSeconds))
	}
	if t.UnixMode&^fs.ModePerm != 0 {
		faults = append(faults, fmt.Errorf("option UnixMode %v: allowed are permission bits only, 0 to 0o777", t.UnixMode))
	}
	return errors.Join(faults...)
}

// Listen opens a listening socket on addr. See [ParseAddr] for its forms.
//
// A Unix socket's file that is left over from a dead process is replaced; one that
// somebody answers on is not, and the error is syscall.EADDRINUSE. The file is removed
// when the listener is closed, if it is still the same file.
//
// "fd:N" is a listening socket that the process was started with, as descriptor N;
// "systemd:NAME" is one of socket activation (LISTEN_FDS), by its name or, if none has
// that name, by its index from 0. Of several of one name it is the first that nobody
// listens on. The errors are [ErrNotInherited] and [ErrNotListening]. The listener has a duplicate: closing it leaves the socket open, the
// kernel goes on queueing clients, and Listen can be called again. Network is ignored,
// the other fields are applied to the socket, where its other owners see them too. Children
// of this process do not get the socket; the environment is left as it is.
func (t TCP) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return t.listen(ctx, addr, listening)
}

// ListenShared is Listen for a TCP socket that shares its port with others of this process
// (SO_REUSEPORT). The error is errors.ErrUnsupported for Unix and inherited sockets, and on
// systems other than Linux.
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
		return nil, fmt.Errorf("address %q: several sockets on one address: %w", addr, errors.ErrUnsupported)
	}
	if a.Inherited() {
		return t.listenInherited(a)
	}
	lc := net.ListenConfig{Control: t.control(r), KeepAlive: -1}
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

// Dial connects to addr with the same socket options that Listen gives to accepted
// connections.
func (t TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	a, err := t.parse(addr)
	if err != nil {
		return nil, err
	}
	if a.Inherited() {
		return nil, fmt.Errorf("address %q: %w: an inherited socket can only be listened on", addr, ErrBadAddr)
	}
	d := net.Dialer{Control: t.control(dialling), KeepAlive: -1}
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

// Handshake applies the options that an accepted socket does not inherit, and returns nc.
func (t TCP) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	return nc, t.tune(nc, !listenerInherits)
}

// tune sets what only an open connection can be told. net sets TCP_NODELAY on every
// connection it accepts, so Nagle is undone here. full also sets what a listening
// socket could not pass on.
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

func (t TCP) parse(addr string) (Addr, error) {
	a, err := ParseAddr(addr)
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
	if d == 0 {
		d = DefaultSendTimeout
	}
	return sendLimit{timeout: max(d, 0), keep: t.KeepOnSendTimeout, lingers: t.Linger > 0}
}

// role says which end of a connection a socket will be.
type role int

const (
	dialling role = iota
	listening
	sharing // listening on a port that others of this process listen on
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
