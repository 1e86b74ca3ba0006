package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// upgraded returns both ends of an in-memory connection that was upgraded after ten bytes of plain
// text in each direction.
func upgraded(t *testing.T) (*transport.Conn, *tls.Conn) {
	t.Helper()
	a, b := memConns(t)
	conn := transport.NewConn(new(transport.Mem), b)
	t.Cleanup(func() { conn.Abort(); a.Close() })
	io.WriteString(a, "STARTTLS.\n")
	if _, err := io.ReadFull(conn, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "go ahead.\n")
	if _, err := io.ReadFull(a, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cli := tls.Client(a, testTLS())
	done := async(func() (int64, error) { return 0, cli.Handshake() })
	if err := conn.Upgrade(t.Context(), transport.TLS{Config: testTLS()}); err != nil {
		t.Fatal(err)
	}
	if r := await(t, "the client's handshake", done); r.err != nil {
		t.Fatal(r.err)
	}
	return conn, cli
}

// After an upgrade, data flows in both directions at once, also with io.Copy. The counters count
// payload, neither handshake nor records.
func TestUpgradeCarriesBothDirections(t *testing.T) {
	const size = 1 << 20
	conn, cli := upgraded(t)
	received, sent := new(checker), new(checker)
	in := async(func() (int64, error) { return io.Copy(received, conn) })
	out := async(func() (int64, error) {
		n, err := io.Copy(conn, &stream{n: size})
		return n, errors.Join(err, conn.CloseWrite())
	})
	cliOut := async(func() (int64, error) {
		n, err := io.Copy(cli, &stream{n: size})
		return n, errors.Join(err, cli.CloseWrite())
	})
	cliIn := async(func() (int64, error) { return io.Copy(sent, cli) })
	for what, done := range map[string]<-chan result{"in": in, "out": out, "client's out": cliOut, "client's in": cliIn} {
		if r := await(t, what, done); r.n != size || r.err != nil {
			t.Errorf("%s: got %d bytes, %v, want all", what, r.n, r.err)
		}
	}
	if s := conn.Stats(); s.BytesRead != 10+size || s.BytesWritten != 10+size {
		t.Errorf("got %+v, want %d bytes in each direction", s, 10+size)
	}
}

// A client that does not begin the handshake costs five seconds and its connection.
func TestUpgradeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memConns(t)
		defer a.Close()
		conn := transport.NewConn(new(transport.Mem), b)
		defer conn.Close()
		start := time.Now()
		err := conn.Upgrade(context.Background(), transport.TLS{Config: testTLS()})
		wantIs(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d != engine.UpgradeTimeout {
			t.Errorf("got the end after %v, want 5s", d)
		}
		// The deadline of the caller's context applies instead.
		a2, b2 := memConns(t)
		defer a2.Close()
		other := transport.NewConn(new(transport.Mem), b2)
		defer other.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		start = time.Now()
		wantIs(t, other.Upgrade(ctx, transport.TLS{Config: testTLS()}), context.DeadlineExceeded)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("got the end after %v, want the deadline", d)
		}
	})
}

// StopReading ends an upgrade in progress.
func TestStopReadingDuringUpgrade(t *testing.T) {
	cause := errors.New("the server ends")
	synctest.Test(t, func(t *testing.T) {
		a, b := memConns(t)
		defer a.Close()
		conn := transport.NewConn(new(transport.Mem), b)
		defer conn.Close()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- conn.Upgrade(context.Background(), transport.TLS{Config: testTLS()}) }()
		synctest.Wait()
		conn.StopReading(cause)
		wantIs(t, <-done, cause)
		if d := time.Since(start); d != 0 {
			t.Errorf("got the end after %v, want it at once", d)
		}
	})
}

// After a failed upgrade, the connection does not continue in plain text. Other connections are not
// affected.
func TestFailedUpgrade(t *testing.T) {
	reason := errors.New("not you")
	refusing := transport.TLS{Config: transport.OnHello(testTLS(), func(context.Context, *tls.ClientHelloInfo) (*tls.Config, error) { return nil, reason })}
	for _, tt := range []struct {
		name   string
		to     transport.Transport
		client func(io.ReadWriter)
		is     error
	}{
		{"plain text", transport.TLS{Config: testTLS()}, func(w io.ReadWriter) { io.WriteString(w, "EHLO again\r\n") }, nil},
		{"refused by the hook", refusing, nil, reason},
		{"no certificate", transport.TLS{}, nil, transport.ErrNoCertificate},
	} {
		bystander, cli := upgraded(t)
		a, b := memConns(t)
		conn := transport.NewConn(new(transport.Mem), b)
		clientRead := async(func() (int64, error) {
			if tt.client != nil {
				tt.client(a)
			} else {
				tls.Client(a, testTLS()).Handshake()
			}
			all, err := io.ReadAll(a)
			if errors.Is(err, syscall.ECONNRESET) { // its ClientHello was not read
				err = nil
			}
			if bytes.Contains(all, []byte("secret")) {
				err = errors.New("plain text")
			}
			return int64(len(all)), err
		})
		err := conn.Upgrade(t.Context(), tt.to)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v, want the error of the handshake", tt.name, err)
		}
		if n, werr := io.WriteString(conn, "secret"); n != 0 || werr == nil || werr.Error() != err.Error() {
			t.Fatalf("%s: Write: got %d, %v, want the error of the handshake", tt.name, n, werr)
		}
		if n, rerr := conn.Read(make([]byte, 10)); n != 0 || rerr == nil {
			t.Errorf("%s: Read: got %d, %v, want the error of the handshake", tt.name, n, rerr)
		}
		if n, rerr := io.Copy(io.Discard, conn); n != 0 || rerr == nil {
			t.Errorf("%s: WriteTo: got %d, %v, want the error of the handshake", tt.name, n, rerr)
		}
		if err := conn.Upgrade(t.Context(), transport.TLS{Config: testTLS()}); err == nil {
			t.Errorf("%s: got TLS, want none", tt.name)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want no error", tt.name, err)
		}
		if r := await(t, "the client", clientRead); r.err != nil {
			t.Errorf("%s: client: got %v, want the alert", tt.name, r.err)
		}
		a.Close()
		exchange(t, bystander, cli)
	}
}

// smtp implements the part of SMTP with which a client begins TLS, and then echoes a line.
func smtp(c *transport.Conn, t transport.Transport) error {
	fmt.Fprint(c, "220 test ESMTP\r\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		switch strings.ToUpper(strings.Fields(line + " ?")[0]) {
		case "EHLO":
			fmt.Fprint(c, "250-test\r\n250 STARTTLS\r\n")
		case "STARTTLS":
			fmt.Fprint(c, "220 go ahead\r\n")
			if in.Buffered() > 0 {
				return transport.ErrBuffered
			}
			if err := c.Upgrade(context.Background(), t); err != nil {
				return err
			}
			in = bufio.NewReader(c)
		case "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return nil
		default:
			fmt.Fprint(c, "500 what?\r\n")
		}
	}
}

func TestOpenSSLStartTLS(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: apt-get install openssl")
	}
	ln := listen(t, transport.TCP{}, "127.0.0.1:0")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", ln.Addr().String(), "-starttls", "smtp", "-servername", "localhost", "-ign_eof", "-crlf", version)
		cmd.Stdin = strings.NewReader("EHLO secure\nQUIT\n")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		srv := accept(t, transport.TCP{}, ln)
		if err := smtp(srv, transport.TLS{Config: testTLS()}); err != nil {
			t.Errorf("%s: got %v, want no error", version, err)
		}
		state, ok := srv.TLS()
		srv.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: openssl: got %v, want no error", version, err)
		}
		cancel()
		if !ok || state.ServerName != "localhost" || !strings.Contains(out.String(), "221 bye") || !strings.Contains(out.String(), "250 STARTTLS") {
			t.Errorf("%s: got %v, %+v, want TLS; output of openssl:\n%s", version, ok, state, out.String())
		}
	}
}
