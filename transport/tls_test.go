package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/listenaddr"
	"goranch/transport"
)

func TestTLSListenWithoutCertificate(t *testing.T) {
	path := socketPath(t)
	for what, c := range map[string]*tls.Config{
		"nil":                nil,
		"empty":              {},
		"only client's ones": {GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }},
	} {
		_, err := transport.TLS{Config: c}.Listen(t.Context(), path)
		if err != engine.ErrNoCertificate {
			t.Errorf("%s: got %v, want ErrNoCertificate", what, err)
		}
	}
	listen(t, transport.TCP{}, path) // no socket was left open

	cert := testTLS().Certificates[0]
	for what, c := range map[string]*tls.Config{
		"Certificates":       {Certificates: []tls.Certificate{cert}},
		"GetCertificate":     {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }},
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return testTLS(), nil }},
	} {
		ln := listen(t, transport.TLS{Config: c}, "127.0.0.1:0")
		srv, cli := connectTo(t, bothEnds{transport.TLS{Config: c}, transport.TLS{Config: testTLS()}}, ln)
		if _, ok := srv.TLS(); !ok {
			t.Errorf("%s: got no TLS, want it", what)
		}
		exchange(t, srv, cli)
	}
}

// bothEnds dials with another transport than it listens with.
type bothEnds struct {
	transport.Transport
	client transport.Transport
}

func (b bothEnds) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return b.client.Dial(ctx, addr)
}

func TestTLSState(t *testing.T) {
	c := testTLS()
	c.NextProtos = []string{"ranch"}
	tr := transport.TLS{Config: c}
	srv, cli := connect(t, tr, "127.0.0.1:0")
	state, ok := srv.TLS()
	if !ok || !state.HandshakeComplete || state.NegotiatedProtocol != "ranch" || state.ServerName != "localhost" {
		t.Errorf("got %v, %+v, want the state of TLS", ok, state)
	}
	if cs := cli.(*tls.Conn).ConnectionState(); cs.NegotiatedProtocol != "ranch" || len(cs.PeerCertificates) != 1 {
		t.Errorf("client: got %+v, want the state of TLS", cs)
	}

	ln := listen(t, tr, "127.0.0.1:0")
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, ok := accept(t, tr, ln).TLS(); ok {
		t.Error("TLS before the handshake: got a state, want none")
	}
}

// The certificate must be valid for the host of the address.
func TestTLSDialName(t *testing.T) {
	client := func(name string) transport.TLS {
		_, pool := certificate()
		return transport.TLS{Config: &tls.Config{RootCAs: pool, ServerName: name}}
	}
	server := transport.TLS{Config: testTLS()}
	for _, tt := range []struct {
		addr, name, wantSNI string
		fails               any
	}{
		{addr: "127.0.0.1:0"}, // an IP address is verified, but not sent as SNI
		{addr: "[::1]:0"},
		{addr: "127.0.0.1:0", name: "localhost", wantSNI: "localhost"},
		{addr: "127.0.0.1:0", name: "elsewhere", fails: new(x509.HostnameError)},
	} {
		ln := listen(t, server, tt.addr)
		dialled := make(chan error, 1)
		cli := client(tt.name)
		go func() {
			nc, err := cli.Dial(t.Context(), listenaddr.String(ln.Addr()))
			if err == nil {
				defer nc.Close()
			}
			dialled <- err
		}()
		srv := accept(t, server, ln)
		err := srv.Handshake(t.Context())
		state, _ := srv.TLS()
		if derr := <-dialled; tt.fails != nil {
			if !errors.As(derr, tt.fails) {
				t.Errorf("%+v: Dial: got %v, want an error of that type", tt, derr)
			}
		} else if err != nil || derr != nil || state.ServerName != tt.wantSNI {
			t.Errorf("%+v: got %v, %v, SNI %q, want no errors and that SNI", tt, err, derr, state.ServerName)
		}
		srv.Abort()
		if cli.Config.ServerName != tt.name {
			t.Errorf("%+v: Dial: got a changed configuration, want it unchanged", tt)
		}
	}
}

// A Unix socket has no host. A client that verifies the server must name it, and the error says so.
func TestTLSDialUnixHasNoName(t *testing.T) {
	server := transport.TLS{Config: testTLS()}
	ln := listen(t, server, socketPath(t)+":443") // a path nevertheless
	addr := listenaddr.String(ln.Addr())
	_, pool := certificate()
	done := async(func() (int64, error) {
		nc, err := transport.TLS{Config: &tls.Config{RootCAs: pool}}.Dial(t.Context(), addr)
		if err == nil {
			nc.Close()
		}
		return 0, err
	})
	srv := accept(t, server, ln)
	shaking := async(func() (int64, error) { return 0, srv.Handshake(t.Context()) })
	err := await(t, "Dial", done).err
	await(t, "Handshake", shaking)
	if err == nil || errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("without a name: got %v, want an error that says so", err)
	}

	// No name is sent as SNI either.
	done = async(func() (int64, error) {
		nc, err := transport.TLS{Config: &tls.Config{InsecureSkipVerify: true}}.Dial(t.Context(), addr)
		if err == nil {
			nc.Close()
		}
		return 0, err
	})
	srv = accept(t, server, ln)
	if err := srv.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, _ := srv.TLS(); state.ServerName != "" {
		t.Errorf("SNI: got %q, want none", state.ServerName)
	}
	if err := await(t, "Dial", done).err; err != nil {
		t.Error(err)
	}
}

// A client that sends nothing ends the handshake when the context ends.
func TestTLSHandshakeTimeout(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	for _, prefix := range []string{"", "\x16\x03\x01\x00\x80\x01"} { // nothing, and the beginning of a ClientHello
		cli, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		io.WriteString(cli, prefix)
		srv := accept(t, tr, ln)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		err = srv.Handshake(ctx)
		cancel()
		wantIs(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d < 20*time.Millisecond || d > 2*time.Second {
			t.Errorf("got the end after %v, want it at the limit", d)
		}
		if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: got %v, want no error", err)
		}
		if _, ok := srv.TLS(); ok {
			t.Error("TLS after a failed handshake: got a state, want none")
		}
	}
}

func TestTLSDialTimeout(t *testing.T) {
	ln := listen(t, transport.TCP{}, "127.0.0.1:0") // accepts and sends nothing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := transport.TLS{Config: testTLS()}.Dial(ctx, listenaddr.String(ln.Addr()))
	wantIs(t, err, context.DeadlineExceeded)
	// The socket was closed.
	srv := accept(t, transport.TCP{}, ln)
	srv.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{srv}); err != nil {
		t.Error(err)
	}
}

func TestPlainTextToTLS(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	cli, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	io.WriteString(cli, "GET / HTTP/1.1\r\n\r\n")
	err = accept(t, tr, ln).Handshake(t.Context())
	var rh tls.RecordHeaderError
	if !errors.As(err, &rh) {
		t.Errorf("handshake: got %#v, want a tls.RecordHeaderError", err)
	}
}

func TestPeerClosesDuringHandshake(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	for what, leave := range map[string]func(*net.TCPConn){
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"close": func(c *net.TCPConn) { c.Close() },
		"reset in the hello": func(c *net.TCPConn) {
			c.Write([]byte("\x16\x03\x01\x00\x80\x01"))
			c.SetLinger(0)
			c.Close()
		},
	} {
		cli, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		srv := accept(t, tr, ln)
		done := async(func() (int64, error) { return 0, srv.Handshake(context.Background()) })
		waitBlocked(t, 1, "transport.(*Conn).Handshake(")
		leave(cli.(*net.TCPConn))
		if r := await(t, "Handshake", done); r.err == nil {
			t.Errorf("%s: handshake: got no error, want one", what)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want no error", what, err)
		}
	}
}

// A client that closes the socket without close_notify is at the end of its stream.
func TestTLSWithoutCloseNotify(t *testing.T) {
	for _, name := range []string{"tls1.3", "tls1.2"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		cli.Write([]byte("last words"))
		tcpOf(t, cli).Close()
		var got bytes.Buffer
		if n, err := srv.WriteTo(&got); got.String() != "last words" || err != nil {
			t.Errorf("%s: WriteTo: got %d, %q, %v, want the data and the end", name, n, got.String(), err)
		}

		// Inside a record it is an error.
		srv, cli = overGate(t, name, func(b []byte) [][]byte { return [][]byte{b} })
		gate := cli.(*tls.Conn).NetConn().(*gated)
		gate.hold()
		cli.Write(make([]byte, 1000))
		held := gate.release()
		gate.Conn.Write(held[:500])
		gate.Conn.Close()
		_, err := srv.WriteTo(io.Discard)
		wantIs(t, err, io.ErrUnexpectedEOF)
	}
}

// gated is the socket below a TLS client. It splits the data written to it, or stores it.
type gated struct {
	net.Conn
	cut     func([]byte) [][]byte
	mu      sync.Mutex
	holding bool
	held    []byte
}

func (g *gated) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holding {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	for _, piece := range g.cut(p) {
		if _, err := g.Conn.Write(piece); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (g *gated) hold() {
	g.mu.Lock()
	g.holding = true
	g.mu.Unlock()
}

func (g *gated) release() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.held
	g.holding, g.held = false, nil
	return held
}

// overGate returns a server and a TLS client above a gated socket.
func overGate(t *testing.T, name string, cut func([]byte) [][]byte) (*transport.Conn, net.Conn) {
	t.Helper()
	tr := kindNamed(name).make(transport.TCP{})
	ln := listen(t, tr, "127.0.0.1:0")
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cli := tls.Client(&gated{Conn: nc, cut: cut}, tr.(transport.TLS).Config)
	t.Cleanup(func() { nc.Close() })
	done := async(func() (int64, error) { return 0, cli.Handshake() })
	srv := accept(t, tr, ln)
	if err := srv.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := await(t, "the client's handshake", done); r.err != nil {
		t.Fatal(r.err)
	}
	return srv, cli
}

// Records of any size that are delivered in parts of any size arrive completely and at once: a
// record does not wait for the data after it.
func TestTLSInSmallParts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	cuts := map[string]func([]byte) [][]byte{
		"byte by byte": func(p []byte) (pieces [][]byte) {
			for i := range p {
				pieces = append(pieces, p[i:i+1])
			}
			return pieces
		},
		"at random": func(p []byte) (pieces [][]byte) {
			for len(p) > 0 {
				n := 1 + rnd.IntN(min(len(p), 1+rnd.IntN(3000)))
				pieces, p = append(pieces, p[:n]), p[n:]
			}
			return pieces
		},
		"whole": func(p []byte) [][]byte { return [][]byte{p} },
	}
	for _, name := range []string{"tls1.3", "tls1.2"} {
		for what, cut := range cuts {
			t.Run(name+" "+what, func(t *testing.T) {
				srv, cli := overGate(t, name, cut)
				echo := async(func() (int64, error) { return srv.WriteTo(srv) })
				sizes := []int{1, 1, 2, 16383, 16384, 16385, 1, 5, 40_000, 1}
				if what == "byte by byte" {
					sizes = []int{1, 1, 2, 3, 500, 1, 17_000, 1}
				}
				total := int64(0)
				got := new(checker)
				for range 3 {
					for _, n := range sizes {
						if what == "at random" {
							n = 1 + rnd.IntN(n)
						}
						sent := asyncWrite(cli, fill(make([]byte, n), total))
						total += int64(n)
						// The echo must arrive before more data is sent.
						if _, err := io.CopyN(got, cli, int64(n)); err != nil {
							t.Fatalf("after %d bytes: got %v, want the echo", got.off, err)
						}
						await(t, "the client's write", sent)
					}
				}
				closeWrite(t, cli)
				if r := await(t, "the echo", echo); r.n != total || r.err != nil {
					t.Errorf("echo: got %d bytes, want %d: %v", r.n, total, r.err)
				}
			})
		}
	}
}

// If an incomplete record follows complete ones, these are delivered.
func TestTLSIncompleteRecordAfterCompleteOnes(t *testing.T) {
	for _, name := range []string{"tls1.3", "tls1.2"} {
		for _, sizes := range [][]int{{1, 1}, {1, 100}, {100, 1}, {16384, 16384}, {5, 1, 5}} {
			srv, cli := overGate(t, name, func(b []byte) [][]byte { return [][]byte{b} })
			gate := cli.(*tls.Conn).NetConn().(*gated)
			got := new(checker)
			echo := async(func() (int64, error) { return srv.WriteTo(srv) })
			gate.hold()
			total := 0
			for _, n := range sizes {
				cli.Write(fill(make([]byte, n), int64(total)))
				total += n
			}
			held := gate.release()
			gate.Conn.Write(held[:len(held)-1])
			complete := int64(total - sizes[len(sizes)-1])
			if _, err := io.CopyN(got, cli, complete); err != nil {
				t.Fatalf("%s, %v: got %v, want no error", name, sizes, err)
			}
			gate.Conn.Write(held[len(held)-1:])
			if _, err := io.CopyN(got, cli, int64(total)-complete); err != nil {
				t.Fatalf("%s, %v: got %v, want no error", name, sizes, err)
			}
			closeWrite(t, cli)
			if r := await(t, "the echo", echo); r.n != int64(total) || r.err != nil {
				t.Errorf("%s, %v: got %d, %v, want all data", name, sizes, r.n, r.err)
			}
		}
	}
}

// A part of close_notify that arrives with data neither loses nor delays the data: crypto/tls looks
// for an alert before it returns data. (In TLS 1.2, the last byte of a record that is read
// separately is delayed by crypto/tls itself.)
func TestTLSDataBeforeIncompleteCloseNotify(t *testing.T) {
	for _, name := range []string{"tls1.3", "tls1.2"} {
		for _, size := range []int{1, 2, 1000} {
			for part := 1; part < 7; part++ {
				srv, cli := overGate(t, name, func(b []byte) [][]byte { return [][]byte{b} })
				gate := cli.(*tls.Conn).NetConn().(*gated)
				got := make(notifier, 100)
				copying := async(func() (int64, error) { return srv.WriteTo(got) })
				gate.hold()
				cli.Write(fill(make([]byte, size), 0))
				data := len(gate.held)
				closeWrite(t, cli)
				gate.SetWriteDeadline(time.Time{}) // crypto/tls sends nothing after close_notify
				held := gate.release()
				gate.Conn.Write(held[:data+part])
				if size > 1 || name == "tls1.3" {
					got.wait(t, size)
				}
				gate.Conn.Write(held[data+part:])
				if r := await(t, "WriteTo", copying); r.n != int64(size) || r.err != nil {
					t.Errorf("%s: got %d, %v, want all data", name, r.n, r.err)
				}
			}
		}
	}
}

// notifier reports how many bytes were written to it.
type notifier chan int

func (n notifier) Write(p []byte) (int, error) {
	n <- len(p)
	return len(p), nil
}

func (n notifier) wait(tb testing.TB, want int) {
	tb.Helper()
	for got := 0; got < want; {
		select {
		case m := <-n:
			got += m
		case <-time.After(testTimeout):
			tb.Fatalf("%d of %d bytes arrived", got, want)
		}
	}
}

// Read and WriteTo may be used alternately: each continues where the other has stopped.
func TestTLSReadAndWriteToAlternate(t *testing.T) {
	for _, name := range []string{"tls1.3", "tls1.2", "unix+tls"} {
		const size = 1 << 20
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		rnd := rand.New(rand.NewPCG(3, 4))
		sent := async(func() (int64, error) {
			for off := int64(0); off < size; {
				n := min(size-off, 1+rnd.Int64N(40_000))
				if _, err := cli.Write(fill(make([]byte, n), off)); err != nil {
					return off, err
				}
				off += n
			}
			closeWrite(t, cli)
			return size, nil
		})
		sink := transport.NewConn(transport.TCP{}, writerConn{new(checker)})
		got := sink.NetConn().(writerConn).checker
		ours := rand.New(rand.NewPCG(5, 6))
		p := make([]byte, 40_000)
		for {
			n, err := srv.Read(p[:1+ours.IntN(len(p))])
			if _, cerr := got.Write(p[:n]); cerr != nil {
				t.Fatalf("%s: Read at %d: got %v, want no error", name, got.off, cerr)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sink.ReadFrom(io.LimitReader(srv, 1+ours.Int64N(100_000))); err != nil {
				t.Fatalf("%s: copy at %d: got %v, want no error", name, got.off, err)
			}
		}
		if await(t, "the sender", sent); got.off != size {
			t.Errorf("%s: got %d bytes, want %d", name, got.off, size)
		}
	}
}

// writerConn is a connection that passes written data to a checker.
type writerConn struct{ *checker }

func (writerConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (writerConn) Close() error                     { return nil }
func (writerConn) SetDeadline(time.Time) error      { return nil }
func (writerConn) SetReadDeadline(time.Time) error  { return nil }
func (writerConn) SetWriteDeadline(time.Time) error { return nil }
func (writerConn) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "nowhere", Net: "unix"} }
func (writerConn) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "nowhere", Net: "unix"} }

// The client updates its keys inside the stream, with and without requesting an update of the
// server's keys. openssl can do that, crypto/tls cannot. The data of the client arrives byte by
// byte.
func TestTLSKeyUpdate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: it requests key updates")
	}
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	proxy := listen(t, transport.TCP{}, "127.0.0.1:0")
	forwarding := async(func() (int64, error) { return 0, trickle(proxy, ln.Addr().String()) })

	cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", proxy.Addr().String(), "-servername", "localhost", "-tls1_3")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	srv := accept(t, tr, ln)
	if err := srv.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo := async(func() (int64, error) { return srv.WriteTo(srv) })
	lines := newLines(out)
	say := func(line string) { // sends a line and waits for its echo
		t.Helper()
		io.WriteString(in, line+"\n")
		lines.await(t, line)
	}
	say("one")
	for _, command := range []string{"K", "k", "K"} { // with a request, without, and again
		io.WriteString(in, command+"\n")
		lines.await(t, "KEYUPDATE")
		say("after a key update")
	}
	io.WriteString(in, "Q\n")
	if r := await(t, "the echo", echo); r.err != nil || r.n == 0 {
		t.Errorf("echo: got %d, %v, want all lines", r.n, r.err)
	}
	srv.Close()
	if err := lines.drained(t, cmd); err != nil {
		t.Errorf("openssl: got %v, want no error\n%s", err, lines.all())
	}
	if r := await(t, "the proxy", forwarding); r.err != nil {
		t.Error(r.err)
	}
}

// trickle forwards one connection, byte by byte from the client.
func trickle(ln net.Listener, to string) error {
	cli, err := ln.Accept()
	if err != nil {
		return err
	}
	defer cli.Close()
	srv, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer srv.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(cli, srv)
		cli.Close()
	})
	p := make([]byte, 4096)
	for {
		n, err := cli.Read(p)
		for i := range n {
			if _, werr := srv.Write(p[i : i+1]); werr != nil {
				break
			}
		}
		if err != nil {
			srv.(*net.TCPConn).CloseWrite()
			wg.Wait()
			return nil
		}
	}
}
