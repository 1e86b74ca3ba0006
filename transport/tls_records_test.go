package transport_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"goranch/transport"
)

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
		stored := gate.release()
		gate.Conn.Write(stored[:500])
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
	storing bool
	stored  []byte
}

func (g *gated) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.storing {
		g.stored = append(g.stored, p...)
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
	g.storing = true
	g.mu.Unlock()
}

func (g *gated) release() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	stored := g.stored
	g.storing, g.stored = false, nil
	return stored
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
			stored := gate.release()
			gate.Conn.Write(stored[:len(stored)-1])
			complete := int64(total - sizes[len(sizes)-1])
			if _, err := io.CopyN(got, cli, complete); err != nil {
				t.Fatalf("%s, %v: got %v, want no error", name, sizes, err)
			}
			gate.Conn.Write(stored[len(stored)-1:])
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
				data := len(gate.stored)
				closeWrite(t, cli)
				gate.SetWriteDeadline(time.Time{}) // crypto/tls sends nothing after close_notify
				stored := gate.release()
				gate.Conn.Write(stored[:data+part])
				if size > 1 || name == "tls1.3" {
					got.wait(t, size)
				}
				gate.Conn.Write(stored[data+part:])
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
	send := func(line string) { // sends a line and waits for its echo
		t.Helper()
		io.WriteString(in, line+"\n")
		lines.await(t, line)
	}
	send("one")
	for _, command := range []string{"K", "k", "K"} { // with a request, without, and again
		io.WriteString(in, command+"\n")
		lines.await(t, "KEYUPDATE")
		send("after a key update")
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
