package wslisten_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/protocol/wslisten"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 20 * time.Second

// server serves WebSockets at /chat of an HTTP server in memory.
type server struct {
	ws   *wslisten.Transport
	mem  *transport.Mem
	chat *ranch.Listener
	ends chan ranch.Event // of the WebSockets
}

// newServer starts a server. It is closed at the end of the test, which fails if connections
// remain.
func newServer(t testing.TB, opts wslisten.Options, ropts ranch.Options, p protocol.Protocol) *server {
	t.Helper()
	ws, err := wslisten.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ws: ws, mem: new(transport.Mem), ends: make(chan ranch.Event, 100)}
	mux := http.NewServeMux()
	mux.Handle("/chat", ws)
	srv := &http.Server{Handler: withRemoteAddr(mux)}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
	go srv.Serve(nl)
	quiet := slog.New(slog.DiscardHandler)
	web, err := new(ranch.Server).StartListener("web", s.mem, ranch.Options{Addr: "web", Logger: quiet}, nl)
	if err != nil {
		t.Fatal(err)
	}
	ropts.Addr, ropts.Logger = "/chat", quiet
	ropts.Observer = func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			s.ends <- e
		}
	}
	s.chat, err = new(ranch.Server).StartListener("chat", ws, ropts, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.chat.Stop()
		web.Stop()
		nl.Shutdown(context.Background())
	})
	return s
}

// withRemoteAddr takes the address of the client from a header.
func withRemoteAddr(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("X-Test-Addr"); a != "" {
			r.RemoteAddr = a
		}
		next.ServeHTTP(w, r)
	})
}

// client is a WebSocket client that sends raw bytes.
type client struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

// request sends a request for an upgrade with more header lines, and returns the answer.
func (s *server) request(t testing.TB, header string) (*client, *http.Response) {
	t.Helper()
	nc, err := s.mem.Dial(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(10 * time.Hour)) // limits a test that fails; time may be fake
	c := &client{nc, t, bufio.NewReader(nc)}
	fmt.Fprintf(nc, "GET /chat HTTP/1.1\r\nHost: chat.example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n", header)
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, res
}

// dial opens a WebSocket.
func (s *server) dial(t testing.TB) *client {
	t.Helper()
	c, res := s.request(t, "")
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got status %d, want 101", res.StatusCode)
	}
	return c
}

// frame returns a masked frame.
func frame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 0xfe}
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return string(b)
}

// Final frames.
const (
	text, binaryFrame, closing, ping, pong = 0x81, 0x82, 0x88, 0x89, 0x8a
)

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send %.100q: %v", s, err)
	}
}

// receive returns the next frame.
func (c *client) receive() (first byte, payload string) {
	c.t.Helper()
	var h [2]byte
	if _, err := io.ReadFull(c.in, h[:]); err != nil {
		c.t.Fatalf("got %v, want a frame", err)
	}
	n := int(h[1])
	switch n {
	case 126:
		var ext [2]byte
		io.ReadFull(c.in, ext[:])
		n = int(binary.BigEndian.Uint16(ext[:]))
	case 127:
		var ext [8]byte
		io.ReadFull(c.in, ext[:])
		n = int(binary.BigEndian.Uint64(ext[:]))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		c.t.Fatalf("got %v, want a payload of %d bytes", err, n)
	}
	return h[0], string(b)
}

// expect fails the test unless the next frame is this one.
func (c *client) expect(first byte, payload string) {
	c.t.Helper()
	if f, p := c.receive(); f != first || p != payload {
		c.t.Fatalf("got frame %#x %.100q, want %#x %.100q", f, p, first, payload)
	}
}

// closeCode returns the code of the next frame, which must be a close frame, and its reason.
func (c *client) closeCode() (code int, reason string) {
	c.t.Helper()
	f, p := c.receive()
	if f != closing {
		c.t.Fatalf("got frame %#x %.100q, want a close frame", f, p)
	}
	if p == "" {
		return 1005, ""
	}
	return int(binary.BigEndian.Uint16([]byte(p))), p[2:]
}

// code returns the payload of a close frame.
func code(n uint16) string { return string(binary.BigEndian.AppendUint16(nil, n)) }

// echo is a protocol that sends back what it reads.
var echo = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	_, err := io.Copy(conn, conn)
	return err
})

// end returns the next end of a WebSocket.
func (s *server) end(t testing.TB) ranch.Event {
	t.Helper()
	select {
	case e := <-s.ends:
		return e
	case <-time.After(testTimeout):
		t.Fatal("the connection has not ended")
	}
	return ranch.Event{}
}
