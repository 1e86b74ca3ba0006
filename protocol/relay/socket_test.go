package relay_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol/relay"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// sockets is a relay over sockets.
type sockets struct {
	front
	up net.Listener
}

// newSockets starts an upstream that listens on addr, and a relay over TCP in front of it.
func newSockets(t *testing.T, addr string, server transport.TCP, o relay.Options) *sockets {
	t.Helper()
	s := &sockets{front: front{t: t, ends: make(chan ranch.Event, 100)}}
	var err error
	if s.up, err = (transport.TCP{}).Listen(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.up.Close() })
	if addr = s.up.Addr().String(); s.up.Addr().Network() == "unix" {
		addr = "unix:" + addr
	}
	o.Upstreams = upstreams(addr)
	if s.relay, err = relay.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.relay.Close(context.Background()) })
	s.start(server, s.relay, ranch.Options{Addr: "127.0.0.1:0"})
	return s
}

// connect returns both ends of a relayed connection.
func (s *sockets) connect() (client, upstream *net.TCPConn) {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	up, err := s.up.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close(); up.Close() })
	client, _ = nc.(*net.TCPConn)
	upstream, _ = up.(*net.TCPConn) // nil for a Unix socket
	return client, upstream
}

var bulk = bytes.Repeat([]byte("0123456789abcde\n"), 4<<20/16)

// Bulk data of both directions arrives completely and is counted, whether the kernel copies it or
// not.
func TestBulk(t *testing.T) {
	for name, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": "unix:" + filepath.Join(t.TempDir(), "s")} {
		t.Run(name, func(t *testing.T) {
			s := newSockets(t, addr, transport.TCP{}, relay.Options{})
			upstream := make(chan error, 1)
			go func() {
				up, err := s.up.Accept()
				if err == nil {
					defer up.Close()
					err = exchange(up)
				}
				upstream <- err
			}()
			client, err := net.Dial("tcp", s.l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := exchange(client); err != nil {
				t.Errorf("client: %v", err)
			}
			if err := <-upstream; err != nil {
				t.Errorf("upstream: %v", err)
			}
			e := <-s.ends
			if st := e.Conn.Stats(); st.BytesRead != uint64(len(bulk)) || st.BytesWritten != uint64(len(bulk)) {
				t.Errorf("got %+v of the client, want %d bytes in each direction", st, len(bulk))
			}
			if st := s.relay.Stats().Upstreams[0]; st.BytesSent != uint64(len(bulk)) || st.BytesReceived != uint64(len(bulk)) {
				t.Errorf("got %+v, want %d bytes in each direction", st, len(bulk))
			}
		})
	}
}

// exchange sends bulk and the end of the stream, and reads the same.
func exchange(nc net.Conn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := nc.Write(bulk)
		closeWrite(nc)
		sent <- err
	}()
	got, err := io.ReadAll(nc)
	if err == nil && !bytes.Equal(got, bulk) {
		err = errors.New("got other data, want that of the peer")
	}
	return errors.Join(err, <-sent)
}

func TestTLSToUpstream(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	config := &tls.Config{RootCAs: web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	server := transport.TLS{Config: &tls.Config{Certificates: web.TLS.Certificates}}
	s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{Transport: transport.TLS{Config: config}, ProxyHeader: 2})
	serverSide := proxy.Transport{Inner: server, Default: proxy.Require}
	got := make(chan string, 1)
	go func() {
		nc, err := s.up.Accept()
		if err != nil {
			return
		}
		conn := transport.NewConn(serverSide, nc)
		defer conn.Close()
		if err := conn.Handshake(context.Background()); err != nil {
			t.Errorf("handshake of the upstream: %v", err)
			return
		}
		request, _ := io.ReadAll(conn)
		io.WriteString(conn, strings.ToUpper(string(request)))
		got <- conn.RemoteAddr().String()
	}()
	client, err := net.Dial("tcp", s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "request")
	closeWrite(client)
	if answer, err := io.ReadAll(client); string(answer) != "REQUEST" || err != nil {
		t.Errorf("got %q, %v, want the answer to the request", answer, err)
	}
	if addr := <-got; addr != client.LocalAddr().String() {
		t.Errorf("the upstream got the client %s, want %s", addr, client.LocalAddr())
	}
	s.wantEnd(conns.PeerClosed)
}

// An upstream that does not speak TLS fails the handshake.
func TestHandshakeFailure(t *testing.T) {
	s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{Transport: transport.TLS{}})
	client, up := s.connect()
	io.WriteString(up, "SSH-2.0-server\r\n")
	wantReadError(t, client, syscall.ECONNRESET)
	s.wantFailure(relay.HandshakeFailed)
}

func TestProxyHeader(t *testing.T) {
	for version, want := range map[int]string{1: "PROXY TCP4 127.0.0.1 127.0.0.1 ", 2: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
		s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{ProxyHeader: version})
		client, up := s.connect()
		io.WriteString(client, "data")
		closeWrite(client)
		got, err := io.ReadAll(up)
		if err != nil || !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), "data") {
			t.Errorf("version %d: got %q, %v, want %q…data", version, got, err, want)
		}
	}
}

// Health checks of an upstream that expects a PROXY header send one without addresses.
func TestProxyHeaderOfChecks(t *testing.T) {
	for version, want := range map[int]string{1: "PROXY UNKNOWN\r\n", 2: "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{ProxyHeader: version, Check: relay.Check{Interval: time.Hour}})
		nc, err := s.up.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(nc); string(got) != want || err != nil {
			t.Errorf("version %d: got %q, %v, want %q", version, got, err, want)
		}
		nc.Close()
	}
}

// A side that takes no data is closed by the send timeout of its transport, and the other is reset.
func TestSendTimeout(t *testing.T) {
	small := transport.TCP{SendTimeout: 50 * time.Millisecond, WriteBuffer: 4096}
	t.Run("upstream", func(t *testing.T) {
		s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{Transport: small})
		client, _ := s.connect()
		if _, err := io.Copy(client, endless{}); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("client: got %v, want a reset", err)
		}
		s.wantFailure(relay.SendTimeout)
	})
	t.Run("client", func(t *testing.T) {
		s := newSockets(t, "127.0.0.1:0", small, relay.Options{})
		_, up := s.connect()
		if _, err := io.Copy(up, endless{}); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("upstream: got %v, want a reset", err)
		}
		s.wantEnd(conns.SendTimeout)
	})
}

// endless is a stream without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A reset during a bulk transfer, of which the kernel does not say which side it has hit, is
// attributed to the side that has sent it.
func TestResetDuringBulk(t *testing.T) {
	for name, tt := range map[string]struct{ byClient, sends bool }{
		"receiving client": {true, false}, "sending client": {true, true},
		"receiving upstream": {false, false}, "sending upstream": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{})
			client, up := s.connect()
			resets, other := up, client
			if tt.byClient {
				resets, other = client, up
			}
			from, to := other, resets
			if tt.sends {
				from, to = resets, other
			}
			copied := make(chan error, 1)
			go func() {
				_, err := io.Copy(from, endless{})
				copied <- err
			}()
			io.CopyN(io.Discard, to, 2<<20)
			resetConn(resets)
			_, err := io.Copy(io.Discard, other)
			if werr := <-copied; !tt.sends {
				err = cmp.Or(err, werr) // one of them, as the system reports a reset once
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("the other side got %v, want a reset", err)
			}
			if tt.byClient {
				s.wantEnd(conns.PeerClosed)
			} else {
				s.wantFailure(relay.Reset)
			}
		})
	}
}

// An idle connection has two goroutines.
func TestGoroutines(t *testing.T) {
	const n = 20
	s := newSockets(t, "127.0.0.1:0", transport.TCP{}, relay.Options{})
	before := runtime.NumGoroutine()
	for range n {
		client, up := s.connect()
		io.WriteString(client, "x")
		wantRead(t, up, "x")
	}
	got := 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = runtime.NumGoroutine() - before; got <= 2*n {
			return
		}
	}
	t.Errorf("got %d goroutines of %d connections, want 2 of each", got, n)
}
