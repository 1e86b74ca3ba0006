package transport_test

import (
	"errors"
	"io/fs"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// sockopt returns one option of a socket.
func sockopt(tb testing.TB, s any, level, opt int) int {
	tb.Helper()
	v, err := 0, error(nil)
	onSocket(tb, s, func(fd int) { v, err = unix.GetsockoptInt(fd, level, opt) })
	if err != nil {
		tb.Fatalf("getsockopt(%d, %d): got %v, want no error", level, opt, err)
	}
	return v
}

func onSocket(tb testing.TB, s any, f func(fd int)) {
	tb.Helper()
	if c, ok := s.(*transport.Conn); ok {
		s = c.NetConn()
	}
	rc, err := s.(syscall.Conn).SyscallConn()
	if err == nil {
		err = rc.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		tb.Fatal(err)
	}
}

type option struct {
	name       string
	level, opt int
}

var (
	nodelay   = option{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY}
	keepalive = option{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE}
	keepidle  = option{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}
	keepintvl = option{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}
	keepcnt   = option{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT}
	rcvbuf    = option{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF}
	sndbuf    = option{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF}
	v6only    = option{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}
)

// The fields apply to accepted and dialled sockets, over TCP and below TLS, and are set on the
// listening socket.
func TestSocketOptions(t *testing.T) {
	fresh, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fresh)
	system := func(o option) int {
		v, err := unix.GetsockoptInt(fresh, o.level, o.opt)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	for _, tt := range []struct {
		name string
		opts transport.TCP
		want map[option]int
	}{
		{"defaults", transport.TCP{}, map[option]int{nodelay: 1, keepalive: 1, keepidle: 15, keepintvl: 15, keepcnt: 9}},
		{"nagle", transport.TCP{Nagle: true}, map[option]int{nodelay: 0, keepalive: 1}},
		{"no keepalive", transport.TCP{KeepAlive: -1, KeepAliveInterval: 5 * time.Second, KeepAliveCount: 5}, map[option]int{keepalive: 0, nodelay: 1}},
		{"no keepalive by a long negative time", transport.TCP{KeepAlive: -time.Hour}, map[option]int{keepalive: 0}},
		{"keepalive", transport.TCP{KeepAlive: 40 * time.Second, KeepAliveInterval: 7 * time.Second, KeepAliveCount: 3},
			map[option]int{keepalive: 1, keepidle: 40, keepintvl: 7, keepcnt: 3}},
		{"fractions are rounded up", transport.TCP{KeepAlive: time.Millisecond, KeepAliveInterval: 1001 * time.Millisecond},
			map[option]int{keepalive: 1, keepidle: 1, keepintvl: 2, keepcnt: 9}},
		{"interval and count left to the system", transport.TCP{KeepAliveInterval: -1, KeepAliveCount: -1},
			map[option]int{keepalive: 1, keepidle: 15, keepintvl: system(keepintvl), keepcnt: system(keepcnt)}},
		{"interval left to the system, in seconds", transport.TCP{KeepAliveInterval: -time.Second},
			map[option]int{keepintvl: system(keepintvl)}},
		{"the most that is allowed", transport.TCP{KeepAlive: 32767 * time.Second, KeepAliveInterval: 32767 * time.Second, KeepAliveCount: 127},
			map[option]int{keepidle: 32767, keepintvl: 32767, keepcnt: 127}},
		// The kernel doubles the value for its own use, and reports the sum.
		{"buffers", transport.TCP{ReadBuffer: 32 << 10, WriteBuffer: 48 << 10}, map[option]int{rcvbuf: 64 << 10, sndbuf: 96 << 10}},
		{"only the read buffer", transport.TCP{ReadBuffer: 32 << 10}, map[option]int{rcvbuf: 64 << 10}},
		{"only the write buffer", transport.TCP{WriteBuffer: 32 << 10}, map[option]int{sndbuf: 64 << 10}},
		{"multipath asked for", transport.TCP{Multipath: true, KeepAlive: 40 * time.Second}, map[option]int{nodelay: 1, keepidle: 40}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, k := range []kind{kindNamed("tcp"), kindNamed("tls1.3")} {
				tr := k.make(tt.opts)
				ln := listen(t, tr, k.addr(t))
				srv, cli := connectTo(t, tr, ln)
				for o, want := range tt.want {
					if o != nodelay && (o != keepalive || want != 0) {
						if got := sockopt(t, ln, o.level, o.opt); got != want {
							t.Errorf("%s, listening: %s: got %d, want %d", k.name, o.name, got, want)
						}
					}
					if got := sockopt(t, srv, o.level, o.opt); got != want {
						t.Errorf("%s, accepted: %s: got %d, want %d", k.name, o.name, got, want)
					}
					if got := sockopt(t, tcpOf(t, cli), o.level, o.opt); got != want {
						t.Errorf("%s, dialled: %s: got %d, want %d", k.name, o.name, got, want)
					}
				}
			}
		})
	}
}

func TestLinger(t *testing.T) {
	for _, tt := range []struct{ linger, onoff, seconds int }{
		{0, 0, 0},
		{7, 1, 7},
		{32767, 1, 32767},
		{-1, 1, 0},
		{-99, 1, 0},
	} {
		for _, k := range []kind{kindNamed("tcp"), kindNamed("tls1.3")} {
			tr := k.make(transport.TCP{Linger: tt.linger})
			ln := listen(t, tr, k.addr(t))
			srv, cli := connectTo(t, tr, ln)
			for end, s := range map[string]any{"listening": ln, "accepted": srv, "dialled": tcpOf(t, cli)} {
				got := lingerOf(t, s)
				if int(got.Onoff) != tt.onoff || tt.onoff == 1 && int(got.Linger) != tt.seconds {
					t.Errorf("%s, linger %d, %s: got %+v, want %d, %d s", k.name, tt.linger, end, got, tt.onoff, tt.seconds)
				}
			}
			// With a positive linger time, close(2) would wait for the peer.
			onSocket(t, srv, func(fd int) {
				unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
			})
		}
	}
}

func lingerOf(tb testing.TB, s any) (l unix.Linger) {
	tb.Helper()
	onSocket(tb, s, func(fd int) {
		size := uint32(unix.SizeofLinger)
		if err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l, &size); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// Fields that concern TCP only are ignored on Unix sockets; the buffers apply.
func TestUnixSocketOptions(t *testing.T) {
	opts := transport.TCP{
		Nagle: true, Linger: 5, KeepAlive: time.Minute, KeepAliveInterval: time.Minute, KeepAliveCount: 3,
		ReadBuffer: 32 << 10, WriteBuffer: 48 << 10, Network: "tcp4",
	}
	ln := listen(t, opts, socketPath(t))
	srv, cli := connectTo(t, opts, ln)
	if got := lingerOf(t, srv); got.Onoff != 0 {
		t.Errorf("linger of a Unix socket: got %+v, want off", got)
	}
	for end, s := range map[string]any{"listening": ln, "dialled": cli} {
		if r, w := sockopt(t, s, unix.SOL_SOCKET, unix.SO_RCVBUF), sockopt(t, s, unix.SOL_SOCKET, unix.SO_SNDBUF); r != 64<<10 || w != 96<<10 {
			t.Errorf("%s: got buffers of %d and %d, want those of the options", end, r, w)
		}
	}
}

// Only "tcp6" excludes IPv4.
func TestV6Only(t *testing.T) {
	six := listen(t, transport.TCP{Network: "tcp6"}, "[::]:0")
	if sockopt(t, six, v6only.level, v6only.opt) != 1 {
		t.Error("tcp6: got no IPV6_V6ONLY, want it")
	}
	both := listen(t, transport.TCP{}, ":0")
	if sockopt(t, both, v6only.level, v6only.opt) != 0 {
		t.Error("empty host: got IPV6_V6ONLY, want IPv4 as well")
	}
}

// A listening socket reports its backlog in fields that count segments for connections.
func TestBacklogApplied(t *testing.T) {
	backlogOf := func(ln net.Listener) (n int) {
		onSocket(t, ln, func(fd int) {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				t.Fatal(err)
			}
			n = int(info.Sacked)
		})
		return n
	}
	for _, n := range []int{1, 17, 100} {
		if got := backlogOf(listen(t, transport.TCP{Backlog: n}, "127.0.0.1:0")); got != n {
			t.Errorf("backlog: got %[2]d, want %[1]d", n, got)
		}
	}
	most := backlogOf(listen(t, transport.TCP{}, "127.0.0.1:0"))
	if most < 128 {
		t.Errorf("default backlog: got %d, want the maximum of the system", most)
	}
	if got := backlogOf(listen(t, transport.TCP{Backlog: 1 << 30}, "127.0.0.1:0")); got != most {
		t.Errorf("backlog larger than the maximum: got %d, want %d", got, most)
	}
	if got := backlogOf(listen(t, transport.TLS{Config: testTLS(), TCP: transport.TCP{Backlog: 5}}, "127.0.0.1:0")); got != 5 {
		t.Errorf("backlog below TLS: got %d, want 5", got)
	}
}

// On a Unix socket with a full backlog, connect fails at once.
func TestBacklogFull(t *testing.T) {
	ln := listen(t, transport.TCP{Backlog: 3}, abstractName())
	n := 0
	for {
		nc, err := transport.TCP{}.Dial(t.Context(), listenaddr.String(ln.Addr()))
		if err != nil {
			wantIs(t, err, syscall.EAGAIN)
			break
		}
		defer nc.Close()
		if n++; n > 100 {
			break
		}
	}
	if n != 3+1 { // the kernel refuses when the queue is longer than the backlog
		t.Errorf("backlog 3: got %d connections, want 4", n)
	}
}

func TestControlGetsUnboundSocketWithOptions(t *testing.T) {
	seen := 0
	opts := transport.TCP{KeepAlive: 33 * time.Second, ReadBuffer: 32 << 10, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			seen++
			sa, err := unix.Getsockname(int(fd))
			if err != nil {
				t.Error(err)
			} else if a, ok := sa.(*unix.SockaddrInet4); !ok || a.Port != 0 {
				t.Errorf("got a bound socket %+v, want an unbound one", sa)
			}
			idle, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			buf, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
			if idle != 33 || buf != 64<<10 {
				t.Errorf("in Control: got keepalive idle %d, buffer %d, want those of the options", idle, buf)
			}
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 44)
		})
	}}
	ln := listen(t, opts, "127.0.0.1:0")
	opts.Control = nil
	srv, _ := connectTo(t, opts, ln)
	if seen != 1 {
		t.Errorf("Control: got %d calls, want 1", seen)
	}
	// Options set by Control remain, and accepted sockets inherit them.
	if got := sockopt(t, srv, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); got != 44 {
		t.Errorf("keepalive idle of the accepted socket: got %d, want 44 as set by Control", got)
	}
}

// The capability for low ports is removed from the thread that binds, so that the test also works
// for root. The thread ends with its goroutine.
func TestPermissionDenied(t *testing.T) {
	const port = "127.0.0.1:7"
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			errs <- err
			return
		}
		ln, err := transport.TCP{}.Listen(t.Context(), port)
		if err == nil {
			ln.Close()
		}
		errs <- err
	}()
	err := <-errs
	if err == nil {
		t.Skipf("this system allows everybody to listen on %s", port)
	}
	wantIs(t, err, syscall.EACCES)
	wantIs(t, err, fs.ErrPermission)
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "listen" {
		t.Errorf("got %#v, want a *net.OpError of listen", err)
	}
}
