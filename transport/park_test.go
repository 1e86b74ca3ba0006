package transport_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/transport"
)

// The tests of package idle check parking itself. These check how Conn uses it.

// waker counts wake-ups.
type waker chan struct{}

func (w waker) Wake()            { w <- struct{}{} }
func (w waker) Ready(*idle.Lead) { w <- struct{}{} }

// newParkable returns a connection of a TCP server, and its client.
func newParkable(t testing.TB) (*transport.Conn, net.Conn) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux only")
	}
	ln, err := transport.TCP{}.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := transport.NewConn(transport.TCP{}, nc)
	t.Cleanup(func() { c.Close() })
	if err := c.Handshake(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c, client
}

// interrupt interrupts a read of c, which can then be parked.
func interrupt(t testing.TB, c *transport.Conn) {
	t.Helper()
	r := engine.Of(c).PooledReader(nil)
	defer r.Release()
	if !engine.Of(c).RequestPark() {
		t.Fatal("RequestPark: got false, want true")
	}
	if b, err := r.Next(10); len(b) > 0 || err != idle.ErrPark {
		t.Fatalf("Next: got %q, %v, want ErrPark", b, err)
	}
}

func TestParkedConnIsWokenOnce(t *testing.T) {
	stop := errors.New("stop")
	for _, c := range []struct {
		name string
		wake func(c *transport.Conn, client net.Conn)
	}{
		{"data", func(_ *transport.Conn, client net.Conn) { client.Write([]byte("x")) }},
		{"end of stream", func(_ *transport.Conn, client net.Conn) { client.Close() }},
		{"SetReadDeadline", func(c *transport.Conn, _ net.Conn) { c.SetReadDeadline(time.Now().Add(time.Hour)) }},
		{"StopReading", func(c *transport.Conn, _ net.Conn) { c.StopReading(stop) }},
		{"Close", func(c *transport.Conn, _ net.Conn) { c.Close() }},
		{"Abort, Close, StopReading", func(c *transport.Conn, _ net.Conn) { c.Abort(); c.Close(); c.StopReading(stop) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, client := newParkable(t)
			interrupt(t, conn)
			w := make(waker, 9)
			if !engine.Of(conn).Park(w, nil) {
				t.Fatal("Park: got false, want true")
			}
			if engine.Of(conn).Park(w, nil) || engine.Of(conn).RequestPark() {
				t.Error("Park and RequestPark of a parked connection: got true, want false")
			}
			c.wake(conn, client)
			<-w
			if st := conn.Stats(); st.Reads > 0 {
				t.Errorf("got %d reads, want 0: an interrupted read does not count", st.Reads)
			}
			if n := len(w); n > 0 {
				t.Errorf("got %d wake-ups, want 1", n+1)
			}
		})
	}
}

func TestParkIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(c *transport.Conn)
	}{
		{"read deadline", func(c *transport.Conn) { c.SetReadDeadline(time.Now().Add(time.Hour)) }},
		{"StopReading", func(c *transport.Conn) { c.StopReading(errors.New("stop")) }},
		{"Close", func(c *transport.Conn) { c.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, _ := newParkable(t)
			c.do(conn)
			if engine.Of(conn).RequestPark() || engine.Of(conn).Park(make(waker, 1), nil) {
				t.Error("RequestPark, Park: got true, want false")
			}
		})
	}
	t.Run("peeked data", func(t *testing.T) {
		conn, client := newParkable(t)
		client.Write([]byte("x"))
		if _, err := conn.Peek(1); err != nil {
			t.Fatal(err)
		}
		if engine.Of(conn).Park(make(waker, 1), nil) {
			t.Error("Park: got true, want false")
		}
	})
	t.Run("no socket", func(t *testing.T) {
		srv, _ := net.Pipe()
		defer srv.Close()
		conn := transport.NewConn(transport.TCP{}, srv)
		if engine.Of(conn).RequestPark() || engine.Of(conn).Park(make(waker, 1), nil) {
			t.Error("RequestPark, Park: got true, want false")
		}
	})
}
