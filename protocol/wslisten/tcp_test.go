package wslisten_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/protocol/wslisten"
	"goranch/ranch"
	"goranch/transport"
)

// A client of another implementation, over TLS: the connection has the state of TLS, the
// subprotocol and the value of Authorize, and takes messages of all sizes in both directions.
func TestOverTLS(t *testing.T) {
	ws, err := wslisten.New(wslisten.Options{
		Subprotocols: []string{"v1"}, MaxMessage: transport.NoLimit,
		Authorize: func(r *http.Request) (any, error) { return r.URL.Path, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(ranch.Server).StartListener("tls", ws, ranch.Options{Addr: "/", Logger: slog.New(slog.DiscardHandler)},
		protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			state, secure := conn.TLS()
			if !secure || state.Version != tls.VersionTLS13 {
				t.Errorf("got TLS %v, version %#x, want 1.3", secure, state.Version)
			}
			if got := wslisten.Subprotocol(conn); got != "v1" {
				t.Errorf("got subprotocol %q, want v1", got)
			}
			if got := wslisten.Value(conn); got != "/path" {
				t.Errorf("got value %v, want /path", got)
			}
			if err := conn.CloseWrite(); err == nil {
				t.Error("CloseWrite: got no error, want ErrUnsupported")
			}
			return echo(ctx, conn)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	srv := httptest.NewTLSServer(ws)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, strings.Replace(srv.URL, "https", "wss", 1)+"/path", &websocket.DialOptions{HTTPClient: srv.Client(), Subprotocols: []string{"v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	nc := websocket.NetConn(ctx, c, websocket.MessageBinary)
	sent := strings.Repeat("0123456789abcdef", 20_000)
	go func() {
		for b := sent; len(b) > 0; {
			n := min(len(b), 1+len(sent)-len(b))
			io.WriteString(nc, b[:n])
			b = b[n:]
		}
	}()
	got := make([]byte, len(sent))
	if n, err := io.ReadFull(nc, got); err != nil || string(got) != sent {
		t.Errorf("got %d bytes, %v, want the %d sent", n, err, len(sent))
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
}

// BenchmarkIdle reports the memory and the goroutines of an idle WebSocket, behind netlisten:
//
//	go test -run xxx -bench Idle -benchtime 2000x ./protocol/wslisten
func BenchmarkIdle(b *testing.B) {
	ws, err := wslisten.New(wslisten.Options{})
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: ws}
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
	go srv.Serve(nl)
	opts := ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}
	web, err := new(ranch.Server).StartListener("web", transport.TCP{}, opts, nl)
	if err != nil {
		b.Fatal(err)
	}
	chat, err := new(ranch.Server).StartListener("chat", ws, opts, protocol.Handle(func() protocol.Handler { return shout{} }, protocol.Options{}))
	if err != nil {
		b.Fatal(err)
	}
	defer nl.Shutdown(context.Background())
	defer web.Stop()
	defer chat.Stop()
	before, goroutines := memory(), runtime.NumGoroutine()
	var clients []io.Closer
	for b.Loop() {
		nc, err := transport.TCP{}.Dial(b.Context(), web.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"+frame(text, "hello"))
		for line, p := "", make([]byte, 1); !strings.HasSuffix(line, "HELLO"); line += string(p) {
			if _, err := nc.Read(p); err != nil {
				b.Fatal(err)
			}
		}
		clients = append(clients, nc)
	}
	b.ReportMetric(float64(memory()-before)/float64(b.N), "B/conn")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/float64(b.N), "goroutines/conn")
	for _, c := range clients {
		c.Close()
	}
}

// memory returns the bytes in use by heap and stacks.
func memory() uint64 {
	for range 3 {
		runtime.GC()
		time.Sleep(100 * time.Millisecond) // for finalizers
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
