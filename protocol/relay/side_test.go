package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"goranch/transport"
	"goranch/transport/proxy"
)

// pair returns both ends of a TCP connection, which are closed at the end of the test.
func pair(t *testing.T) (*transport.Conn, net.Conn) {
	t.Helper()
	return pairOf(t, transport.TCP{})
}

// pairOf is pair for a connection of another transport over TCP.
func pairOf(t *testing.T, tr transport.Transport) (*transport.Conn, net.Conn) {
	t.Helper()
	ln, err := (transport.TCP{}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := transport.NewConn(tr, nc)
	t.Cleanup(func() { c.Close() })
	return c, peer
}

// The error of a copy belongs to the side that it names. That of splice names none: it is the
// destination's if that has been closed, for whatever reason.
func TestFailedSide(t *testing.T) {
	dst, dstPeer := pair(t)
	src, _ := pair(t)
	op := func(name string) error {
		return fmt.Errorf("copy: %w", &net.OpError{Op: name, Net: "tcp", Err: os.NewSyscallError(name, syscall.ECONNRESET)})
	}
	for _, tt := range []struct {
		name   string
		err    error
		closed bool // dst is reset by its peer first
		want   *transport.Conn
	}{
		{"a send timeout", &net.OpError{Op: "write", Err: transport.ErrSendTimeout}, false, dst},
		{"a write", op("write"), false, dst},
		{"an end of the stream that could not be sent", op("close"), false, dst},
		{"a read", op("read"), false, src},
		{"an error of no connection", io.ErrUnexpectedEOF, false, src},
		{"splice, with a source that has failed", op("readfrom"), false, src},
		{"splice, with a destination that has failed", op("readfrom"), true, dst},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.closed {
				if runtime.GOOS != "linux" {
					t.Skip("only Linux splices")
				}
				dstPeer.(*net.TCPConn).SetLinger(0)
				dstPeer.Close()
				dst.Read(make([]byte, 1)) // until the reset has arrived
			}
			if got := failedSide(dst, src, tt.err); got != tt.want {
				t.Errorf("got the source: %t, want it: %t", got == src, tt.want == src)
			}
		})
	}
}

// After a copy has failed, the end of the other stream is not passed on: it may be that of a
// connection that was reset.
func TestEndAfterFailure(t *testing.T) {
	client, _ := pair(t)
	server, _ := pair(t)
	for _, failed := range []bool{false, true} {
		s := newSession(t.Context(), new(Relay), newUpstream("a"), client, server)
		s.failed = failed
		if got := s.endStream(server); got == failed {
			t.Errorf("failed %t: got %t, want %t", failed, got, !failed)
		}
		if s.eof != server {
			t.Errorf("failed %t: the side that has ended first is not recorded", failed)
		}
		s.endStream(client)
		if s.eof != server {
			t.Errorf("failed %t: got the second side, want the first", failed)
		}
	}
}

// A write that has failed because its peer has closed the connection does not end the other copy,
// which forwards what that peer has sent before; any other failure resets both.
func TestOtherCopyAfterFailedWrite(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		reset bool
	}{
		{"EPIPE", &net.OpError{Op: "write", Err: syscall.EPIPE}, false},
		{"ECONNRESET", &net.OpError{Op: "write", Err: syscall.ECONNRESET}, false},
		{"another error", &net.OpError{Op: "write", Err: syscall.EIO}, true},
		{"a reset of the source", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, clientPeer := pair(t)
			server, _ := pair(t)
			s := newSession(t.Context(), new(Relay), newUpstream("a"), client, server)
			s.fail(server, client, tt.err)
			if _, err := client.Write([]byte("x")); tt.reset != errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v for a write to the client, want it closed: %t", err, tt.reset)
			}
			if !tt.reset {
				client.Close()
			}
			_, err := io.ReadAll(clientPeer)
			if tt.reset != errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client got %v, want a reset: %t", err, tt.reset)
			}
		})
	}
}

// A connection that ends with an error is reset on both sides when it ends; without one it is
// closed.
func TestFinish(t *testing.T) {
	for _, failed := range []bool{false, true} {
		client, clientPeer := pair(t)
		server, serverPeer := pair(t)
		r, err := New(Options{Upstreams: []Upstream{{Addr: "127.0.0.1:1"}}})
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(t.Context(), r, newUpstream("a"), client, server)
		want := error(nil)
		if failed {
			want = &Error{"a", Reset, syscall.ECONNRESET}
			s.err = want
		}
		if err := s.finish(); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
		client.Close() // as package conns does
		for side, peer := range map[string]net.Conn{"client": clientPeer, "upstream": serverPeer} {
			if _, err := io.ReadAll(peer); failed != errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("failed %t: the %s got %v, want a reset: %t", failed, side, err, failed)
			}
		}
	}
}

// A header of version 1 has no room for the extensions of one of version 2, and is sent without
// them.
func TestForwardedExtensions(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	header := &transport.ProxyHeader{Version: 2, Source: tcp("192.0.2.1:5"), Destination: tcp("192.0.2.2:80"),
		TLVs: []transport.TLV{{Type: 0x02, Value: []byte("example.org")}}}
	b, err := proxy.Format(header, false)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[int]int{1: 0, 2: 1} {
		client, peer := pairOf(t, proxy.Transport{Inner: transport.TCP{}, Default: proxy.Require})
		peer.Write(b)
		if err := client.Handshake(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := forwarded(client, version)
		if len(h.TLVs) != want || h.Version != version || h.Source.String() != header.Source.String() {
			t.Errorf("version %d: got %+v, want the addresses and %d extensions", version, h, want)
		}
		if _, err := proxy.Format(h, false); err != nil {
			t.Errorf("version %d: got %v, want a header that can be sent", version, err)
		}
	}
}
