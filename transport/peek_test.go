package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// Peeked data is read again, by Read and by WriteTo, and counted then.
func TestPeek(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		conn, peer := k.pair(t, transport.TCP{})
		go func() {
			io.WriteString(peer, "hello ")
			io.WriteString(peer, "world, and more")
			peer.Close()
		}()
		got, err := conn.Peek(8)
		if err != nil || !strings.HasPrefix("hello world, and more", string(got)) || len(got) < 8 {
			t.Fatalf("Peek: got %q, %v, want at least 8 bytes", got, err)
		}
		if n := conn.Stats().BytesRead; n != 0 {
			t.Errorf("got %d bytes counted before they were read, want 0", n)
		}
		p := make([]byte, 3)
		if n, err := conn.Read(p); n != 3 || err != nil || string(p) != "hel" {
			t.Fatalf("Read: got %q, %v, want the peeked data", p[:n], err)
		}
		var b strings.Builder
		if _, err := io.Copy(&b, &io.LimitedReader{R: conn, N: 4}); err != nil || b.String() != "lo w" {
			t.Fatalf("limited copy: got %q, %v, want the peeked data", b.String(), err)
		}
		if _, err := io.Copy(&b, conn); err != nil || b.String() != "lo world, and more" {
			t.Fatalf("WriteTo: got %q, %v, want the rest", b.String(), err)
		}
		if n := conn.Stats().BytesRead; n != 21 {
			t.Errorf("got %d bytes counted, want 21", n)
		}
		if got, err := conn.Peek(1); len(got) != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Peek at the end: got %q, %v, want EOF", got, err)
		}
	})
}

func TestPeekTooMuch(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	io.WriteString(peer, "short")
	peer.Close()
	if got, err := conn.Peek(6); string(got) != "short" || !errors.Is(err, io.EOF) {
		t.Errorf("Peek of more than arrives: got %q, %v, want the data and EOF", got, err)
	}
	if _, err := conn.Peek(engine.MaxPeek + 1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Peek of more than the maximum: got %v, want an error", err)
	}
}

// A greeting in plain text is followed by TLS.
func TestUpgrade(t *testing.T) {
	server := transport.TLS{Config: testTLS()}
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	done := make(chan error, 1)
	go func() {
		err := conn.Upgrade(context.Background(), server)
		if err == nil {
			_, err = io.Copy(conn, conn)
		}
		conn.Close()
		done <- err
	}()
	c := tls.Client(peer, testTLS())
	io.WriteString(c, "secret")
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "secret" || err != nil {
		t.Errorf("got %q, %v, want the data sent over TLS", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, ok := conn.TLS(); !ok {
		t.Error("TLS: got no state, want one")
	}
	if err := conn.Upgrade(context.Background(), server); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("second Upgrade: got %v, want ErrUnsupported", err)
	}
}

// Plain text that was read ahead must not be taken for data received over TLS.
func TestUpgradeAfterPlainText(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	io.WriteString(peer, "STARTTLS\nDROP TABLE\n")
	if _, err := conn.Peek(20); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Upgrade(context.Background(), transport.TLS{Config: testTLS()}); !errors.Is(err, transport.ErrBuffered) {
		t.Errorf("got %v, want ErrBuffered", err)
	}
}

// UpgradePeeked accepts a handshake whose beginning was peeked.
func TestUpgradePeeked(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	go func() {
		c := tls.Client(peer, testTLS())
		io.WriteString(c, "hello")
		c.Close()
	}()
	if b, err := conn.Peek(1); err != nil || b[0] != 22 {
		t.Fatalf("Peek: got %x, %v, want a ClientHello", b, err)
	}
	if err := engine.Of(conn).UpgradePeeked(context.Background(), transport.TLS{Config: testTLS()}); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v, want the data sent over TLS", got, err)
	}
}
