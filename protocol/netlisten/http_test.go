package netlisten_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// testServer is a http.Server on a ranch listener.
type testServer struct {
	*ranch.Listener
	srv    *http.Server
	nl     *netlisten.Listener
	served chan error // receives the result of Serve
}

// newTestServer starts a server that stops when the test ends.
func newTestServer(t *testing.T, tr transport.Transport, opts ranch.Options, h http.Handler) *testServer {
	w := &testServer{served: make(chan error, 1)}
	w.srv = &http.Server{Handler: h}
	w.nl = netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(w.srv)})
	go func() { w.served <- w.srv.Serve(w.nl) }()
	w.Listener = startListener(t, tr, opts, w.nl)
	t.Cleanup(func() { w.stop(t) })
	return w
}

func (w *testServer) stop(t *testing.T) {
	w.Stop()
	w.nl.Shutdown(timeout(t))
	if err := receive(t, "result of Serve", w.served); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: got %v, want %v", err, http.ErrServerClosed)
	}
}

// 500 requests, 300 of them concurrent, with a cap of 50 connections.
func TestHTTPUnderTheCap(t *testing.T) {
	needCurl(t)
	const limit, requests = 50, 500
	var running, peak atomic.Int64 // handlers
	w := newTestServer(t, transport.TCP{}, ranch.Options{MaxConnections: limit}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		<-time.After(time.Millisecond) // simulates work
		fmt.Fprint(w, "hello")
	}))
	out, err := curl(t, "--parallel", "--parallel-immediate", "--parallel-max", "300", "-H", "Connection: close",
		"-o", "/dev/null", "-w", "%{http_code} %{size_download}\n", fmt.Sprintf("http://%s/[1-%d]", w.Addr(), requests))
	if err != nil {
		t.Errorf("curl: got %v, want no error", err)
	}
	if n := strings.Count(out, "200 5\n"); n != requests {
		t.Errorf("got %d answers, want %d", n, requests)
	}
	i := w.Info()
	if i.PeakConnections > limit || peak.Load() > limit || i.Accepted != requests {
		t.Errorf("got a peak of %d connections and %d handlers, and %d accepted, want at most %d and %d, and %d", i.PeakConnections, peak.Load(), i.Accepted, limit, limit, requests)
	}
	t.Logf("peak: %d connections", i.PeakConnections)
}

// A drain under load: each client that has connected receives a complete answer, even if it was in
// the backlog. Later clients cannot connect, so that they know that their request was not executed.
func TestHTTPDrain(t *testing.T) {
	needCurl(t)
	var begun atomic.Int64
	enough := make(chan struct{})
	body := strings.Repeat("x", 100_000)
	w := newTestServer(t, transport.TCP{}, ranch.Options{MaxConnections: 50}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if begun.Add(1) == 200 {
			close(enough)
		}
		<-time.After(5 * time.Millisecond) // simulates work
		if r.Context().Err() == nil {
			io.WriteString(w, body)
		}
	}))
	drained := make(chan error, 1)
	var took time.Duration
	go func() {
		<-enough
		begin := time.Now()
		err := w.Drain(timeout(t))
		took = time.Since(begin)
		drained <- err
	}()
	out, _ := curl(t, "--parallel", "--parallel-immediate", "--parallel-max", "300", "-H", "Connection: close",
		"-o", "/dev/null", "-w", "%{http_code} %{size_download} %{exitcode}\n", fmt.Sprintf("http://%s/[1-2000]", w.Addr()))
	if err := receive(t, "result of Drain", drained); err != nil {
		t.Errorf("Drain: got %v, want no error", err)
	}
	answered, accepted := int64(strings.Count(out, "200 100000 0\n")), int64(w.Info().Accepted)
	refused := int64(strings.Count(out, " 7\n")) // the exit code for a refused connection
	// The kernel resets a connection whose handshake ends just when the socket is closed.
	if reset := int64(strings.Count(out, "000 0 56\n")); reset <= 2 {
		refused += reset
	}
	if answered != begun.Load() || answered < 200 || answered == 2000 {
		t.Errorf("got %d requests begun and %d answered, want the same number, from 200 to 1999", begun.Load(), answered)
	}
	if took < time.Second && (answered != accepted || answered+refused != 2000) { // on a busy machine a client may send its request too late
		t.Errorf("got %d accepted, %d answered and %d refused, want all accepted answered, and 2000 in all", accepted, answered, refused)
	}
	t.Logf("%d of 2000 clients connected before the drain and received an answer", answered)
}

// During a drain a request in progress reads the rest of its body, keeps its context and is
// answered. A request on a new connection is answered too. An idle connection is closed at once.
func TestDrainDuringRequest(t *testing.T) {
	begun := make(chan struct{})
	w := newTestServer(t, transport.TCP{}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			close(begun)
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %v", n, err, r.Context().Err())
	}))
	addr := w.Addr().String()
	busy, fresh, idle := dial(t, transport.TCP{}, addr), dial(t, transport.TCP{}, addr), dial(t, transport.TCP{}, addr)
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := response(t, idle); got != "0 <nil> <nil>" {
		t.Errorf("before the drain: got %q, want 0 <nil> <nil>", got)
	}
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
	receive(t, "request", begun)
	if err := w.WaitForConnections(timeout(t), ranch.Equal, 3); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(timeout(t)) }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("idle connection: got %v, want %v", err, io.EOF)
	}
	io.WriteString(fresh, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := response(t, fresh); got != "0 <nil> <nil>" {
		t.Errorf("new connection: got %q, want 0 <nil> <nil>", got)
	}
	io.WriteString(busy, "world")
	if got := response(t, busy); got != "10 <nil> <nil>" {
		t.Errorf("busy connection: got %q, want 10 <nil> <nil>", got)
	}
	if err := receive(t, "result of Drain", drained); err != nil {
		t.Errorf("Drain: got %v, want no error", err)
	}
	if i := w.Info(); i.Terminated != 3 || i.Reasons[conns.Aborted] != 0 {
		t.Errorf("got ends %v, want 3, none of %v", i.Reasons, conns.Aborted)
	}
}

// response reads a response and returns its body.
func response(t *testing.T, nc net.Conn) string {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// A client that sends no request is closed by Shutdown or, as here, at the shutdown limit.
func TestDrainOfIdleClient(t *testing.T) {
	w := newTestServer(t, transport.TCP{}, ranch.Options{ShutdownTimeout: 50 * time.Millisecond}, http.NotFoundHandler())
	dial(t, transport.TCP{}, w.Addr().String())
	if err := w.WaitForConnections(timeout(t), ranch.Equal, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("Stop: got %v, want no error", err)
	}
	if i := w.Info(); i.Reasons[conns.Aborted] != 1 {
		t.Errorf("got ends %v, want 1 of %v", i.Reasons, conns.Aborted)
	}
}

// A server can be restarted on the same port with a new Listener and a new http.Server.
func TestRestart(t *testing.T) {
	addr := "127.0.0.1:0"
	for i := range 3 {
		w := newTestServer(t, transport.TCP{}, ranch.Options{Addr: addr}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, i)
		}))
		addr = w.Addr().String()
		nc := dial(t, transport.TCP{}, addr)
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := response(t, nc); got != fmt.Sprint(i) {
			t.Errorf("server %d: got %q, want %d", i, got, i)
		}
		w.stop(t)
		w.served <- http.ErrServerClosed // for the cleanup
	}
}

// The HTTP version, Request.TLS and the connection context, by the layer that runs the handshake.
func TestHTTPS(t *testing.T) {
	needCurl(t)
	for _, tt := range []struct {
		name   string
		own    bool // net/http runs the handshake
		protos []string
		flag   string
		want   string
	}{
		{"transport.TLS, HTTP/2", false, []string{"h2", "http/1.1"}, "--http2", "2 HTTP/2.0 tls:true conn:true secure:true"},
		{"transport.TLS, HTTP/1.1 client", false, []string{"h2", "http/1.1"}, "--http1.1", "1.1 HTTP/1.1 tls:true conn:true secure:true"},
		{"transport.TLS without ALPN", false, nil, "--http2", "1.1 HTTP/1.1 tls:true conn:true secure:true"},
		{"ServeTLS, HTTP/2", true, nil, "--http2", "2 HTTP/2.0 tls:true conn:true secure:false"},
		{"ServeTLS, HTTP/1.1 client", true, nil, "--http1.1", "1.1 HTTP/1.1 tls:true conn:true secure:false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type key struct{}
			srv := &http.Server{
				ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
					return context.WithValue(ctx, key{}, transport.Of(nc))
				},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _ := r.Context().Value(key{}).(*transport.Conn)
					secure := conn != nil && conn.Transport().Secure()
					fmt.Fprintf(w, " %s tls:%t conn:%t secure:%t", r.Proto, r.TLS != nil, conn != nil, secure)
				}),
			}
			nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
			served := make(chan error, 1)
			var tr transport.Transport
			if tt.own {
				tr, srv.TLSConfig = transport.TCP{}, serverTLS()
				go func() { served <- srv.ServeTLS(nl, "", "") }()
			} else {
				tr = transport.TLS{Config: serverTLS(tt.protos...)}
				go func() { served <- srv.Serve(nl) }()
			}
			l := startListener(t, tr, ranch.Options{}, nl)
			version, err := curl(t, tt.flag, "-w", "%{stderr}", "-w", "\n%{http_version}", "https://"+l.Addr().String())
			body, v, _ := strings.Cut(version, "\n")
			if got := v + body; err != nil || got != tt.want {
				t.Errorf("got  %q, %v\nwant %q", got, err, tt.want)
			}
			if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
				t.Errorf("after the request: got %v, want the slot released", err)
			}
			if err := l.Drain(timeout(t)); err != nil {
				t.Errorf("Drain: got %v, want no error", err)
			}
			nl.Shutdown(timeout(t))
			if err := receive(t, "result of Serve", served); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: got %v, want %v", err, http.ErrServerClosed)
			}
		})
	}
}

// During a drain an HTTP/2 stream in progress is answered, and the connection ends by GOAWAY.
func TestDrainOfHTTP2(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	w := newTestServer(t, transport.TLS{Config: serverTLS("h2")}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, r.Proto, r.Context().Err())
	}))
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	var wg sync.WaitGroup
	wg.Go(func() {
		res, err := c.Get("https://" + w.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); string(b) != "HTTP/2.0<nil>" || err != nil {
			t.Errorf("got %q, %v, want HTTP/2.0<nil>", b, err)
		}
	})
	receive(t, "request", begun)
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(timeout(t)) }()
	if err := w.WaitForConnections(timeout(t), ranch.Equal, 1); err != nil {
		t.Error(err)
	}
	close(finish)
	wg.Wait()
	if err := receive(t, "result of Drain", drained); err != nil {
		t.Errorf("Drain: got %v, want no error", err)
	}
	if i := w.Info(); i.Reasons[conns.Shutdown] != 1 {
		t.Errorf("got ends %v, want 1 of %v", i.Reasons, conns.Shutdown)
	}
}

// An idle HTTP/2 connection receives GOAWAY when the grace time for requests is over.
func TestDrainOfIdleHTTP2(t *testing.T) {
	t.Parallel()
	w := newTestServer(t, transport.TLS{Config: serverTLS("h2")}, ranch.Options{}, http.NotFoundHandler())
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err := w.Drain(timeout(t)); err != nil {
		t.Errorf("Drain: got %v, want no error", err)
	}
	if i := w.Info(); i.Reasons[conns.Shutdown] != 1 || res.Proto != "HTTP/2.0" {
		t.Errorf("got %s and ends %v, want HTTP/2.0 and 1 of %v", res.Proto, i.Reasons, conns.Shutdown)
	}
}

// A hijacked connection, such as a WebSocket, keeps its slot until it is closed.
func TestHijack(t *testing.T) {
	hijacked := make(chan net.Conn, 1)
	w := newTestServer(t, transport.TCP{}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		hijacked <- nc
	}))
	cli := dial(t, transport.TCP{}, w.Addr().String())
	io.WriteString(cli, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	nc := receive(t, "hijacked connection", hijacked)
	if transport.Of(nc) == nil {
		t.Errorf("transport.Of of a %T: got nil", nc)
	}
	if n := w.Info().ActiveConnections; n != 1 {
		t.Errorf("got %d active connections, want 1", n)
	}
	nc.Close()
	if err := w.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
		t.Error(err)
	}
}

// HTTP/2 without TLS works with prior knowledge of the client.
func TestHTTP2WithoutTLS(t *testing.T) {
	needCurl(t)
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, r.TLS != nil)
	})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv)})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	l := startListener(t, transport.TCP{}, ranch.Options{}, nl)
	if out, err := curl(t, "--http2-prior-knowledge", "http://"+l.Addr().String()); out != "HTTP/2.0false" || err != nil {
		t.Errorf("got %q, %v, want HTTP/2.0false", out, err)
	}
	if err := l.Drain(timeout(t)); err != nil {
		t.Errorf("Drain: got %v, want no error", err)
	}
	nl.Shutdown(timeout(t))
	receive(t, "result of Serve", served)
}

// A function of RegisterOnShutdown runs once, whether connections are open when the listener stops,
// longer than the time for a last request, or none is.
func TestShutdownHooksRunOnce(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]bool{"no connection": false, "a connection without a request": true} {
		t.Run(name, func(t *testing.T) {
			hooks := make(chan struct{}, 10)
			w := newTestServer(t, transport.TCP{}, ranch.Options{ShutdownTimeout: 2 * time.Second}, http.NotFoundHandler())
			w.srv.RegisterOnShutdown(func() { hooks <- struct{}{} })
			if open {
				nc := dial(t, transport.TCP{}, w.Addr().String())
				defer nc.Close()
				if err := w.WaitForConnections(timeout(t), ranch.Equal, 1); err != nil {
					t.Fatal(err)
				}
			}
			w.Listener.Stop()
			w.nl.Shutdown(timeout(t))
			w.nl.Shutdown(timeout(t))
			receive(t, "the hook", hooks)
			time.Sleep(50 * time.Millisecond) // hooks run in goroutines of their own
			if n := len(hooks); n != 0 {
				t.Errorf("the hook has run %d times more, want once", n)
			}
		})
	}
}
