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

// web is an http server on a listener, as a program would have it.
type web struct {
	*ranch.Listener
	srv    *http.Server
	served chan error // what Serve returned
}

func serve(t *testing.T, tr transport.Transport, opts ranch.Options, h http.Handler) *web {
	w := &web{served: make(chan error, 1)}
	w.srv = &http.Server{Handler: h}
	nl := netlisten.New(netlisten.StopHTTP(w.srv))
	go func() { w.served <- w.srv.Serve(nl) }()
	w.Listener = start(t, tr, opts, nl)
	t.Cleanup(func() { w.end(t) })
	return w
}

func (w *web) end(t *testing.T) {
	w.Stop()
	w.srv.Shutdown(within(t))
	if err := await(t, "Serve returns", w.served); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// Five hundred requests of curl, three hundred at a time, on a cap of fifty.
func TestHTTPUnderTheCap(t *testing.T) {
	const limit, requests = 50, 500
	var now, most atomic.Int64 // handlers, for a count of our own
	w := serve(t, transport.TCP{}, ranch.Options{MaxConnections: limit}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(time.Millisecond) // some work
		fmt.Fprint(w, "hello")
	}))
	out, err := curl(t, "--parallel", "--parallel-immediate", "--parallel-max", "300", "-H", "Connection: close",
		"-o", "/dev/null", "-w", "%{http_code} %{size_download}\n", fmt.Sprintf("http://%s/[1-%d]", w.Addr(), requests))
	if err != nil {
		t.Error(err)
	}
	if n := strings.Count(out, "200 5\n"); n != requests {
		t.Errorf("%d of %d requests were answered", n, requests)
	}
	i := w.Info()
	if i.PeakConnections > limit || most.Load() > limit || i.Accepted != requests {
		t.Errorf("at most %d at once, %d handlers; %d accepted", i.PeakConnections, most.Load(), i.Accepted)
	}
	t.Logf("at most %d connections at once", i.PeakConnections)
}

// A drain in the midst of that: each client that has connected is answered in full, also if
// it still waits in the kernel's queue. Those that come later cannot connect, and know that
// nothing was done for them.
func TestHTTPDrain(t *testing.T) {
	var begun atomic.Int64
	enough := make(chan struct{})
	body := strings.Repeat("x", 100_000)
	w := serve(t, transport.TCP{}, ranch.Options{MaxConnections: 50}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if begun.Add(1) == 200 {
			close(enough)
		}
		<-time.After(5 * time.Millisecond) // some work
		if r.Context().Err() == nil {
			io.WriteString(w, body)
		}
	}))
	drained := make(chan error, 1)
	var took time.Duration
	go func() {
		<-enough
		begin := time.Now()
		err := w.Drain(within(t))
		took = time.Since(begin)
		drained <- err
	}()
	out, _ := curl(t, "--parallel", "--parallel-immediate", "--parallel-max", "300", "-H", "Connection: close",
		"-o", "/dev/null", "-w", "%{http_code} %{size_download} %{exitcode}\n", fmt.Sprintf("http://%s/[1-2000]", w.Addr()))
	if err := await(t, "the drain", drained); err != nil {
		t.Error(err)
	}
	answered, accepted := int64(strings.Count(out, "200 100000 0\n")), int64(w.Info().Accepted)
	refused := int64(strings.Count(out, " 7\n")) // could not connect
	if answered != begun.Load() || answered < 200 || answered == 2000 {
		t.Errorf("%d begun, %d answered", begun.Load(), answered)
	}
	if answered+refused != 2000 {
		t.Errorf("%d answered, %d could not connect, and %d of 2000 failed", answered, refused, 2000-answered-refused)
	}
	if took < time.Second && answered != accepted { // on a busy machine a client may need longer for its request
		t.Errorf("%d accepted, %d answered", accepted, answered)
	}
	t.Logf("%d of 2000 were connected before the drain, and answered", answered)
}

// While a listener is drained: a request in progress reads the rest of its body, keeps its
// context and is answered; one that comes now on a connection already accepted is answered
// too; an idle connection is closed at once.
func TestDrainOfOneRequest(t *testing.T) {
	begun := make(chan struct{})
	w := serve(t, transport.TCP{}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		t.Errorf("before: %q", got)
	}
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
	await(t, "the request", begun)
	if err := w.WaitForConnections(within(t), ranch.Equal, 3); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(within(t)) }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	io.WriteString(fresh, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := response(t, fresh); got != "0 <nil> <nil>" {
		t.Errorf("the fresh connection: %q", got)
	}
	io.WriteString(busy, "world")
	if got := response(t, busy); got != "10 <nil> <nil>" {
		t.Errorf("the busy connection: %q", got)
	}
	if err := await(t, "the drain", drained); err != nil {
		t.Error(err)
	}
	if i := w.Info(); i.Terminated != 3 || i.Reasons[conns.Aborted] != 0 {
		t.Errorf("ended as %v", i.Reasons)
	}
}

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

// A client that never sends a request is closed by Shutdown or, as here, at the limit.
func TestDrainOfASilentClient(t *testing.T) {
	w := serve(t, transport.TCP{}, ranch.Options{ShutdownTimeout: 50 * time.Millisecond}, http.NotFoundHandler())
	dial(t, transport.TCP{}, w.Addr().String())
	if err := w.WaitForConnections(within(t), ranch.Equal, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if i := w.Info(); i.Reasons[conns.Aborted] != 1 {
		t.Errorf("ended as %v", i.Reasons)
	}
}

// The next server on the same port needs a new Listener, and a new http.Server.
func TestRestart(t *testing.T) {
	addr := "127.0.0.1:0"
	for i := range 3 {
		w := serve(t, transport.TCP{}, ranch.Options{Addr: addr}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, i)
		}))
		addr = w.Addr().String()
		nc := dial(t, transport.TCP{}, addr)
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := response(t, nc); got != fmt.Sprint(i) {
			t.Errorf("round %d: %q", i, got)
		}
		w.end(t)
		w.served <- http.ErrServerClosed // for the clean-up
	}
}

// Who does the handshake, which version of HTTP comes of it, and what the handler learns.
func TestHTTPS(t *testing.T) {
	for _, tt := range []struct {
		name   string
		own    bool // the handshake is http's
		protos []string
		flag   string
		want   string
	}{
		{"goranch's TLS, HTTP/2", false, []string{"h2", "http/1.1"}, "--http2", "2 HTTP/2.0 tls:true conn:true secure:true"},
		{"goranch's TLS, client of HTTP/1.1", false, []string{"h2", "http/1.1"}, "--http1.1", "1.1 HTTP/1.1 tls:true conn:true secure:true"},
		{"goranch's TLS without ALPN", false, nil, "--http2", "1.1 HTTP/1.1 tls:true conn:true secure:true"},
		{"http's TLS, HTTP/2", true, nil, "--http2", "2 HTTP/2.0 tls:true conn:true secure:false"},
		{"http's TLS, client of HTTP/1.1", true, nil, "--http1.1", "1.1 HTTP/1.1 tls:true conn:true secure:false"},
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
			nl := netlisten.New(netlisten.StopHTTP(srv))
			served := make(chan error, 1)
			var tr transport.Transport
			if tt.own {
				tr, srv.TLSConfig = transport.TCP{}, serverTLS()
				go func() { served <- srv.ServeTLS(nl, "", "") }()
			} else {
				tr = transport.TLS{Config: serverTLS(tt.protos...)}
				go func() { served <- srv.Serve(nl) }()
			}
			l := start(t, tr, ranch.Options{}, nl)
			version, err := curl(t, tt.flag, "-w", "%{stderr}", "-w", "\n%{http_version}", "https://"+l.Addr().String())
			body, v, _ := strings.Cut(version, "\n")
			if got := v + body; err != nil || got != tt.want {
				t.Errorf("got  %q, %v\nwant %q", got, err, tt.want)
			}
			if err := l.WaitForConnections(within(t), ranch.Equal, 0); err != nil {
				t.Error(err) // the slot comes back from a *tls.Conn too
			}
			if err := l.Drain(within(t)); err != nil {
				t.Error(err)
			}
			srv.Shutdown(within(t))
			if err := await(t, "Serve returns", served); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

// An HTTP/2 stream in progress is answered in a drain, and the connection ends by GOAWAY.
func TestDrainOfHTTP2(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	w := serve(t, transport.TLS{Config: serverTLS("h2")}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
			t.Errorf("%q, %v", b, err)
		}
	})
	await(t, "the request", begun)
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(within(t)) }()
	if err := w.WaitForConnections(within(t), ranch.Equal, 1); err != nil {
		t.Error(err)
	}
	close(finish)
	wg.Wait()
	if err := await(t, "the drain", drained); err != nil {
		t.Error(err)
	}
	if i := w.Info(); i.Reasons[conns.Shutdown] != 1 {
		t.Errorf("ended as %v", i.Reasons)
	}
}

// An idle connection of HTTP/2 is told by GOAWAY when the time for last requests is over.
func TestDrainOfIdleHTTP2(t *testing.T) {
	w := serve(t, transport.TLS{Config: serverTLS("h2")}, ranch.Options{}, http.NotFoundHandler())
	c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err := w.Drain(within(t)); err != nil {
		t.Error(err)
	}
	if i := w.Info(); i.Reasons[conns.Shutdown] != 1 || res.Proto != "HTTP/2.0" {
		t.Errorf("%s ended as %v", res.Proto, i.Reasons)
	}
}

// A connection that a handler takes over, as WebSockets do, keeps its slot until it is closed.
func TestHijack(t *testing.T) {
	taken := make(chan net.Conn, 1)
	w := serve(t, transport.TCP{}, ranch.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- nc
	}))
	cli := dial(t, transport.TCP{}, w.Addr().String())
	io.WriteString(cli, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	nc := await(t, "the handler", taken)
	if _, ok := nc.(*netlisten.Conn); !ok || transport.Of(nc) == nil {
		t.Errorf("it is a %T", nc)
	}
	if n := w.Info().ActiveConnections; n != 1 {
		t.Errorf("%d active connections", n)
	}
	nc.Close()
	if err := w.WaitForConnections(within(t), ranch.Equal, 0); err != nil {
		t.Error(err)
	}
}

// HTTP/2 in plain text, for clients that know of it.
func TestHTTP2InPlainText(t *testing.T) {
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, r.TLS != nil)
	})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	nl := netlisten.New(netlisten.StopHTTP(srv))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(nl) }()
	l := start(t, transport.TCP{}, ranch.Options{}, nl)
	if out, err := curl(t, "--http2-prior-knowledge", "http://"+l.Addr().String()); out != "HTTP/2.0false" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if err := l.Drain(within(t)); err != nil {
		t.Error(err)
	}
	srv.Shutdown(within(t))
	await(t, "Serve returns", served)
}
