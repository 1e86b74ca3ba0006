package loadgen

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSourceAddr(t *testing.T) {
	for _, tt := range []struct {
		i, clientsPerAddr int
		want              [4]byte
	}{
		{0, 20_000, [4]byte{127, 0, 0, 2}},
		{19_999, 20_000, [4]byte{127, 0, 0, 2}},
		{20_000, 20_000, [4]byte{127, 0, 0, 3}},
		{999_999, 20_000, [4]byte{127, 0, 0, 51}},
		{253, 1, [4]byte{127, 0, 0, 255}},
		{254, 1, [4]byte{127, 0, 1, 0}},
		{1<<24 - 4, 1, [4]byte{127, 255, 255, 254}},
		{1<<24 - 3, 1, [4]byte{127, 0, 0, 2}},
	} {
		if got := SourceAddr(tt.i, tt.clientsPerAddr); got != tt.want {
			t.Errorf("SourceAddr(%d, %d): got %v, want %v", tt.i, tt.clientsPerAddr, got, tt.want)
		}
	}
}

// testClient is one non-blocking client of a listener.
type testClient struct {
	t      *testing.T
	ln     net.Listener
	dialer *Dialer
	poller *Poller
	fd     int
}

const testID = 7

func newTestClient(t *testing.T, addr string) *testClient {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ln.Close() })
	d, err := NewDialer(ln.Addr().(*net.TCPAddr).AddrPort(), 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	fd, err := d.Dial(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := p.Add(fd, testID); err != nil {
		t.Fatal(err)
	}
	return &testClient{t: t, ln: ln, dialer: d, poller: p, fd: fd}
}

func (c *testClient) accept() net.Conn {
	c.t.Helper()
	nc, err := c.ln.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { nc.Close() })
	return nc
}

// read waits for the next data, or the end of the stream.
func (c *testClient) read() (string, error) {
	c.t.Helper()
	b := make([]byte, 100)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if n, err := Read(c.fd, b); n > 0 || err != nil {
			return string(b[:n]), err
		}
		events, err := c.poller.Wait(time.Second)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, ev := range events {
			if ev.Fd != testID {
				c.t.Fatalf("got event of id %d, want %d", ev.Fd, testID)
			}
		}
	}
	c.t.Fatal("got no data within 10s")
	return "", nil
}

// write waits until the connection is established: before that a write returns EAGAIN, or ENOTCONN.
func (c *testClient) write(s string) {
	c.t.Helper()
	for range 1000 {
		n, err := Write(c.fd, []byte(s))
		if err != nil {
			c.t.Fatal(err)
		}
		if n == len(s) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	c.t.Fatal("got no connection within 1s")
}

func TestClient(t *testing.T) {
	for _, tt := range []struct{ addr, source string }{{"127.0.0.1:0", "127.0.0.4"}, {"[::1]:0", "::1"}} {
		t.Run(tt.addr, func(t *testing.T) {
			c := newTestClient(t, tt.addr)
			nc := c.accept()
			if got, _ := netip.ParseAddrPort(nc.RemoteAddr().String()); got.Addr().String() != tt.source {
				t.Errorf("got source address %v, want %s", got, tt.source)
			}
			c.write("ping")
			b := make([]byte, 4)
			if _, err := io.ReadFull(nc, b); err != nil || string(b) != "ping" {
				t.Errorf("server: got %q, %v; want ping", b, err)
			}
			io.WriteString(nc, "pong")
			if got, err := c.read(); got != "pong" || err != nil {
				t.Errorf("client: got %q, %v; want pong", got, err)
			}
			if n, err := Read(c.fd, b); n != 0 || err != nil {
				t.Errorf("Read without data: got %d, %v; want 0, nil", n, err)
			}
			nc.Close()
			if got, err := c.read(); got != "" || err != io.EOF {
				t.Errorf("client after close: got %q, %v; want EOF", got, err)
			}
		})
	}
}

// The peer of a connection that is replaced by Reconnect receives a reset.
func TestReconnect(t *testing.T) {
	c := newTestClient(t, "127.0.0.1:0")
	first := c.accept()
	if err := c.dialer.Reconnect(c.fd); err != nil {
		t.Fatal(err)
	}
	second := c.accept()
	first.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("first connection: got error %v, want ECONNRESET", err)
	}
	io.WriteString(second, "hello")
	if got, err := c.read(); got != "hello" || err != nil {
		t.Errorf("second connection: got %q, %v; want hello", got, err)
	}
}

func TestDialRefused(t *testing.T) {
	c := newTestClient(t, "127.0.0.1:0")
	c.ln.Close()
	fd, err := c.dialer.Dial(0)
	if err == nil {
		defer unix.Close(fd)
		_, err = Write(fd, []byte("x"))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got error %v, want ECONNREFUSED", err)
	}
}

func TestMaxOpenFiles(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if got, want := uint64(MaxOpenFiles()), min(lim.Max, math.MaxInt); got != want {
		t.Errorf("got %d, want the hard limit %d", got, want)
	}
}
