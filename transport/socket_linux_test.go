package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/backlog"
	"goranch/internal/listenaddr"
	"goranch/transport"
)

var (
	deferAccept     = option{"TCP_DEFER_ACCEPT", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}
	fastOpen        = option{"TCP_FASTOPEN", unix.IPPROTO_TCP, unix.TCP_FASTOPEN}
	fastOpenConnect = option{"TCP_FASTOPEN_CONNECT", unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT}
	tos             = option{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS}
	rcvlowat        = option{"SO_RCVLOWAT", unix.SOL_SOCKET, unix.SO_RCVLOWAT}
)

// The options are set on new and on inherited sockets. The kernel stores TCP_DEFER_ACCEPT as a
// number of retransmissions, after 1, 3, 7 … seconds.
func TestDeferAcceptAndFastOpenOptions(t *testing.T) {
	for _, tt := range []struct {
		opts transport.TCP
		want map[option]int
	}{
		{transport.TCP{}, map[option]int{deferAccept: 0, fastOpen: 0}},
		{transport.TCP{DeferAccept: time.Millisecond}, map[option]int{deferAccept: 1}},
		{transport.TCP{DeferAccept: time.Second}, map[option]int{deferAccept: 1}},
		{transport.TCP{DeferAccept: 1001 * time.Millisecond}, map[option]int{deferAccept: 3}},
		{transport.TCP{DeferAccept: 3 * time.Second}, map[option]int{deferAccept: 3}},
		{transport.TCP{DeferAccept: 3001 * time.Millisecond}, map[option]int{deferAccept: 7}},
		{transport.TCP{FastOpen: 17}, map[option]int{fastOpen: 17, deferAccept: 0}},
	} {
		for _, addr := range []string{"127.0.0.1:0", inheritedAddr(t, "127.0.0.1:0"), "[::1]:0"} {
			for _, tr := range []transport.Transport{tt.opts, transport.TLS{Config: testTLS(), TCP: tt.opts}} {
				ln := listen(t, tr, addr)
				for o, want := range tt.want {
					if got := sockopt(t, ln, o.level, o.opt); got != want {
						t.Errorf("%s on %s: %s: got %d, want %d", tr.Name(), addr, o.name, got, want)
					}
				}
				ln.Close()
			}
		}
	}
	opts := transport.TCP{FastOpen: 1, DeferAccept: time.Second}
	listen(t, opts, socketPath(t)) // ignored on Unix sockets
	listen(t, opts, inheritedAddr(t, socketPath(t)))
}

// A client that sends nothing is not accepted within the time; clients that send are.
func TestDeferAcceptWaitsForData(t *testing.T) {
	ln := listen(t, transport.TCP{DeferAccept: time.Minute}, "127.0.0.1:0")
	dial := func() net.Conn {
		nc, err := transport.TCP{}.Dial(t.Context(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	silent := dial()
	for range 3 {
		nc := dial()
		nc.Write([]byte("ping"))
		ln.(*net.TCPListener).SetDeadline(time.Now().Add(testTimeout))
		got, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got.RemoteAddr().String() != nc.LocalAddr().String() {
			t.Errorf("got a connection of %v, want one that has sent data", got.RemoteAddr())
		}
		got.Close()
	}
	if waits, err := backlog.Pending(ln); waits || err != nil {
		t.Errorf("client that sends nothing: got %v, %v, want not pending", waits, err)
	}
	silent.Write([]byte("x"))
	p := make([]byte, 1)
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(testTimeout))
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Read(p); err != nil || p[0] != 'x' {
		t.Errorf("got %q, %v, want x", p, err)
	}
}

// A client with Fast Open writes first. After that the connection is a normal one, whether or not
// the system sends data with the request.
func TestFastOpen(t *testing.T) {
	opts := transport.TCP{FastOpen: 16}
	ln := listen(t, opts, "127.0.0.1:0")
	for range 3 { // the first gets the cookie, the others use it
		nc, err := opts.Dial(t.Context(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := sockopt(t, nc, fastOpenConnect.level, fastOpenConnect.opt); got != 1 {
			t.Errorf("%s: got %d, want 1", fastOpenConnect.name, got)
		}
		if _, err := nc.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		srv, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 4)
		if _, err := io.ReadFull(srv, p); err != nil || string(p) != "ping" {
			t.Errorf("got %q, %v, want the data of the client", p, err)
		}
		exchange(t, srv, nc)
		srv.Close()
		nc.Close()
	}
	tr := kindNamed("tls1.3").make(opts) // in TLS the client sends first
	tln := listen(t, tr, "127.0.0.1:0")
	for range 3 {
		srv, cli := connectTo(t, tr, tln)
		exchange(t, srv, cli)
	}
}

// The fields also apply to inherited sockets, where package net sets other values. Accepted sockets
// inherit the options that Control sets.
func TestInheritedOptions(t *testing.T) {
	raw := func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), tos.level, tos.opt, 0x10),
				unix.SetsockoptInt(int(fd), rcvlowat.level, rcvlowat.opt, 2))
		})
		return errors.Join(err, cerr)
	}
	for _, tt := range []struct {
		name string
		opts transport.TCP
		want map[option]int
	}{
		{"defaults", transport.TCP{}, map[option]int{nodelay: 1, keepalive: 1, keepidle: 15, keepintvl: 15, keepcnt: 9, rcvlowat: 1}},
		{"keepalive", transport.TCP{KeepAlive: 40 * time.Second, KeepAliveInterval: 7 * time.Second, KeepAliveCount: 3},
			map[option]int{keepalive: 1, keepidle: 40, keepintvl: 7, keepcnt: 3}},
		{"only the count", transport.TCP{KeepAliveCount: 3}, map[option]int{keepalive: 1, keepidle: 15, keepintvl: 15, keepcnt: 3}},
		{"no keepalive", transport.TCP{KeepAlive: -1}, map[option]int{keepalive: 0}},
		{"nagle", transport.TCP{Nagle: true}, map[option]int{nodelay: 0}},
		{"raw", transport.TCP{Control: raw}, map[option]int{tos: 0x10, rcvlowat: 2}},
	} {
		for what, addr := range map[string]string{"own": "127.0.0.1:0", "inherited": inheritedAddr(t, "127.0.0.1:0")} {
			for _, name := range []string{"tcp", "tls1.3"} {
				tr := kindNamed(name).make(tt.opts)
				ln := listen(t, tr, addr)
				clean := kindNamed(name).make(transport.TCP{})
				srv, _ := connectAs(t, clean, tr, ln)
				for o, want := range tt.want {
					if got := sockopt(t, srv, o.level, o.opt); got != want {
						t.Errorf("%s, %s, %s: %s: got %d, want %d", tt.name, what, name, o.name, got, want)
					}
				}
				ln.Close()
			}
		}
	}
	ln := listen(t, transport.TCP{Linger: 7, ReadBuffer: 32 << 10, Backlog: 5}, inheritedAddr(t, "127.0.0.1:0"))
	if got := lingerOf(t, ln); got.Onoff != 1 || got.Linger != 7 {
		t.Errorf("linger: got %+v, want 7 s", got)
	}
	if got := sockopt(t, ln, rcvbuf.level, rcvbuf.opt); got != 64<<10 {
		t.Errorf("read buffer: got %d, want that of the options", got)
	}
	onSocket(t, ln, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 5 {
			t.Errorf("backlog: got %d, %v, want that of the options", info.Sacked, err)
		}
	})
}

// connectAs uses another transport for the client.
func connectAs(tb testing.TB, client, server transport.Transport, ln net.Listener) (*transport.Conn, net.Conn) {
	tb.Helper()
	type dialled struct {
		nc  net.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		nc, err := client.Dial(tb.Context(), ln.Addr().String())
		done <- dialled{nc, err}
	}()
	srv := accept(tb, server, ln)
	tb.Cleanup(func() { srv.Abort() })
	if err := srv.Handshake(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	d := <-done
	if d.err != nil {
		tb.Fatal(d.err)
	}
	tb.Cleanup(func() { d.nc.Close() })
	return srv, d.nc
}

// Options of an open connection are read and set, over TLS and on Unix sockets too.
func TestSyscallConn(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		rc, err := srv.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var before, after int
		var serr error
		err = rc.Control(func(fd uintptr) {
			before, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY)
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 5)
			after, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY)
		})
		if err != nil || serr != nil || before != 0 || after != 5 {
			t.Errorf("got %d, then %d, %v, %v, want the value that was set", before, after, err, serr)
		}
		exchange(t, srv, cli)
		srv.Close()
		if err := rc.Control(func(uintptr) {}); err == nil {
			t.Error("options of a closed connection: got no error, want one")
		}
	})
	srv, _ := pipe(t, transport.TCP{})
	_, err := srv.SyscallConn()
	wantIs(t, err, errors.ErrUnsupported)
}

// A copy to a file must not bypass TLS, although the socket is accessible: os.File.ReadFrom asks
// its source for a socket to splice from.
func TestSyscallConnDoesNotBypassTLS(t *testing.T) {
	for _, name := range []string{"tcp", "tls1.3"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		text := bytes.Repeat([]byte("plain text"), 1000)
		sent := asyncWrite(cli, text)
		if n, err := f.ReadFrom(io.LimitReader(srv, int64(len(text)))); n != int64(len(text)) || err != nil {
			t.Errorf("%s: got %d, %v, want all bytes", name, n, err)
		}
		await(t, "Write", sent)
		if got, err := os.ReadFile(f.Name()); !bytes.Equal(got, text) || err != nil {
			t.Errorf("%s: file: got %d bytes, %v, want the data sent", name, len(got), err)
		}
		if got := srv.Stats().BytesRead; got != uint64(len(text)) {
			t.Errorf("%s: got %d bytes counted, want all", name, got)
		}
	}
}

func TestPeerCred(t *testing.T) {
	want := transport.PeerCred{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid()}
	for _, name := range []string{"unix", "unix+tls"} {
		srv, _ := kindNamed(name).pair(t, transport.TCP{})
		if got, err := srv.PeerCred(); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
		srv.Abort()
		_, err := srv.PeerCred()
		wantIs(t, err, net.ErrClosed)
	}
	for _, name := range []string{"tcp", "tls1.3", "pipe"} {
		srv, _ := pairOf(t, name)
		_, err := srv.PeerCred()
		wantIs(t, err, errors.ErrUnsupported)
	}
}

// Pending takes no connection from the queue.
func TestPendingBacklog(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", socketPath(t), abstractName(), inheritedAddr(t, "127.0.0.1:0"), inheritedAddr(t, socketPath(t))} {
		for _, tr := range []transport.Transport{transport.TCP{}, transport.TLS{Config: testTLS()}} {
			ln := listen(t, tr, addr)
			want := func(want bool) {
				t.Helper()
				waitFor(t, fmt.Sprintf("%s: connections wait: %v", addr, want), func() bool {
					got, err := backlog.Pending(ln)
					if err != nil {
						t.Fatal(err)
					}
					return got == want
				})
			}
			want(false)
			for range 2 {
				nc, err := transport.TCP{}.Dial(t.Context(), listenaddr.String(ln.Addr()))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
			}
			for range 2 {
				want(true)
				nc, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
			}
			want(false)
			ln.Close()
			_, err := backlog.Pending(ln)
			wantIs(t, err, net.ErrClosed)
		}
	}
	mem, err := new(transport.Mem).Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	_, err = backlog.Pending(mem)
	wantIs(t, err, errors.ErrUnsupported)
	wantIs(t, backlog.Shrink(mem), errors.ErrUnsupported)
}

// The queue of an inherited socket is not changed: the next process accepts its connections.
func TestShrinkBacklogOfInherited(t *testing.T) {
	ln := listen(t, transport.TCP{}, inheritedAddr(t, "127.0.0.1:0"))
	wantIs(t, backlog.Shrink(ln), errors.ErrUnsupported)
}
