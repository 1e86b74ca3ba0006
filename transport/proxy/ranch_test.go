package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// ended is the end of a connection as the observer sees it.
type ended struct {
	ranch.Event
	peer   string
	header *transport.ProxyHeader
}

// server is an echo server behind a proxy.
type server struct {
	*ranch.Listener
	ends chan ended
	log  *safeBuffer
}

func start(t *testing.T, tr proxy.Transport, opts ranch.Options) server {
	t.Helper()
	s := server{ends: make(chan ended, 100), log: new(safeBuffer)}
	opts.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts.Observer = func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			s.ends <- ended{e, e.Conn.RemoteAddr().String(), e.Conn.Proxy()}
		}
	}
	var err error
	if s.Listener, err = ranch.StartListener(t.Name(), tr, opts, echo.Protocol{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ranch.StopListener(t.Name()) })
	return s
}

// end waits for the next connection to end.
func (s server) end(t *testing.T) ended {
	t.Helper()
	select {
	case e := <-s.ends:
		return e
	case <-time.After(testTimeout):
		t.Fatal("timeout while waiting for the end of a connection")
		return ended{}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Data that is not a header fails the handshake, and a header that is late ends it with a timeout.
// Neither delays other connections. The log has the address of the client.
func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		tr := proxy.Transport{Inner: mem, Local: proxy.Require}
		s := start(t, tr, ranch.Options{Addr: "m", NumAcceptors: 1})
		silent := must[net.Conn](t)(mem.Dial(t.Context(), "m"))
		defer silent.Close()

		tr.Header = headers["v2 IPv4"]
		begin := time.Now()
		echoed(t, must[net.Conn](t)(tr.Dial(t.Context(), "m")))
		if e := s.end(t); e.Reason != conns.Finished || e.peer != "192.0.2.1:1000" || time.Since(begin) > 0 {
			t.Errorf("client: got %v, %v, %v after %v, want it served at once", e.peer, e.Reason, e.Err, time.Since(begin))
		}
		if e := s.end(t); e.Reason != conns.HandshakeTimeout || !errors.Is(e.Err, os.ErrDeadlineExceeded) || e.Served {
			t.Errorf("silent client: got %v, %v, want a handshake timeout", e.Reason, e.Err)
		}
		wrong := must[net.Conn](t)(mem.Dial(t.Context(), "m"))
		defer wrong.Close()
		io.WriteString(wrong, "GET / HTTP/1.1\r\n\r\n")
		if e := s.end(t); e.Reason != conns.HandshakeFailed || !errors.Is(e.Err, proxy.ErrNoHeader) || e.Served {
			t.Errorf("client without a header: got %v, %v, want a failed handshake", e.Reason, e.Err)
		}
		s.Stop()
		for _, want := range []string{"transport=proxy+mem peer=192.0.2.1:1000", "incomplete after 3s", "no header"} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("got a log without %q, want one with it:\n%s", want, s.log)
			}
		}
	})
}

// Stop ends the wait for a header at once.
func TestStopEndsHandshake(t *testing.T) {
	tr := kinds[0].trusting()
	tr.HeaderTimeout = -1
	s := start(t, tr, ranch.Options{Addr: "127.0.0.1:0", HandshakeTimeout: -1, ShutdownTimeout: ranch.Infinity})
	silent := must[net.Conn](t)(net.Dial("tcp", s.Addr().String()))
	defer silent.Close()
	tr.Header = headers["v2 local"]
	client := must[net.Conn](t)(tr.Dial(t.Context(), s.Addr().String())) // accepted after the silent client
	defer client.Close()
	io.WriteString(client, greeting)
	io.ReadFull(client, make([]byte, len(greeting)))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if e := s.end(t); e.Reason != conns.Shutdown {
			t.Errorf("got %v, %v, want conns.Shutdown", e.Reason, e.Err)
		}
	}
}

// The options of the inner transport and the form of the address are validated.
func TestListenerValidatesInner(t *testing.T) {
	tr := proxy.Transport{Inner: transport.TCP{Backlog: -1}, MaxHeaderBytes: 1}
	_, err := ranch.NewListener("x", tr, ranch.Options{Addr: "nowhere"}, echo.Protocol{})
	wantIs(t, err, ranch.ErrBadOption)
	wantIs(t, err, transport.ErrBadAddr)
	for _, want := range []string{"Backlog -1", "MaxHeaderBytes 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %[2]v, want %[1]q in it", want, err)
		}
	}
	if _, err = ranch.NewListener("x", proxy.Transport{}, ranch.Options{}, echo.Protocol{}); !errors.Is(err, ranch.ErrBadOption) {
		t.Errorf("without an inner transport: got %v, want ErrBadOption", err)
	}
}

// Limits per address apply to the client, not to the proxy: a proxy may have any number of
// connections, and each client as many as the limit allows.
func TestLimitsApplyToClient(t *testing.T) {
	rules := []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8"), Policy: proxy.Use}}
	s := start(t, proxy.Transport{Inner: transport.TCP{}, Rules: rules}, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{PerAddress: 1}})
	connectFrom := func(client string) net.Conn {
		t.Helper()
		h := &transport.ProxyHeader{Version: 1, Source: tcpAddr(client), Destination: tcpAddr("192.0.2.80:80")}
		nc := must[net.Conn](t)(net.Dial("tcp", s.Addr().String()))
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(testTimeout))
		nc.Write(append(must[[]byte](t)(proxy.Format(h, false)), "x"...))
		return nc
	}
	answered := func(nc net.Conn) bool {
		_, err := io.ReadFull(nc, make([]byte, 1))
		return err == nil
	}
	for _, c := range []struct {
		client string
		want   bool
	}{{"192.0.2.1:1", true}, {"192.0.2.2:1", true}, {"192.0.2.1:2", false}, {"192.0.2.3:1", true}} {
		if got := answered(connectFrom(c.client)); got != c.want {
			t.Errorf("%s: got served %v, want %v", c.client, got, c.want)
		}
	}
	if e := s.end(t); e.Reason != conns.RefusedAddress || e.peer != "192.0.2.1:2" {
		t.Errorf("%v: got reason %v, want conns.RefusedAddress for 192.0.2.1:2", e.peer, e.Reason)
	}
	if n := s.Info().Addresses; n != 3 {
		t.Errorf("got %d addresses, want 3", n)
	}
	for _, want := range []bool{true, false} { // without a header, the peer is the client
		nc := must[net.Conn](t)(net.Dial("tcp", s.Addr().String()))
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(testTimeout))
		nc.Write([]byte("hello, this is no header"))
		if got := answered(nc); got != want {
			t.Errorf("client without a header: got served %v, want %v", got, want)
		}
	}
}
