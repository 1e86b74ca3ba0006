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

// woken is a Waker that tells a channel.
type woken chan struct{}

func (w woken) Wake() { w <- struct{}{} }

// served returns a connection as its server sees it, and its client.
func served(t testing.TB) (*transport.Conn, net.Conn) {
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

// rested brings c to the point at which it can be parked.
func rested(t testing.TB, c *transport.Conn) {
	t.Helper()
	l := engine.Of(c).PooledReader()
	defer l.Release()
	if !engine.Of(c).RequestPark() {
		t.Fatal("it may not rest")
	}
	if b, err := l.Next(10); len(b) > 0 || err != idle.ErrPark {
		t.Fatalf("%q, %v", b, err)
	}
}

// Whatever ends the parking of a connection wakes it once.
func TestPark(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(c *transport.Conn, client net.Conn)
	}{
		{"data", func(_ *transport.Conn, client net.Conn) { client.Write([]byte("x")) }},
		{"the end of the stream", func(_ *transport.Conn, client net.Conn) { client.Close() }},
		{"a read deadline", func(c *transport.Conn, _ net.Conn) { c.SetReadDeadline(time.Now().Add(time.Hour)) }},
		{"StopReading", func(c *transport.Conn, _ net.Conn) { c.StopReading(errors.New("enough")) }},
		{"Close", func(c *transport.Conn, _ net.Conn) { c.Close() }},
		{"Abort, Close, StopReading", func(c *transport.Conn, _ net.Conn) { c.Abort(); c.Close(); c.StopReading(errors.New("enough")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, client := served(t)
			rested(t, conn)
			wk := make(woken, 9)
			if !engine.Of(conn).Park(wk) {
				t.Fatal("not parked")
			}
			if engine.Of(conn).Park(wk) || engine.Of(conn).RequestPark() {
				t.Error("it is parked already")
			}
			c.do(conn, client)
			<-wk
			if st := conn.Stats(); st.Reads > 0 {
				t.Errorf("a rest is no read: %+v", st)
			}
			if len(wk) > 0 {
				t.Error("woken twice")
			}
		})
	}
}

// What has come before the parking counts.
func TestParkTooLate(t *testing.T) {
	c, client := served(t)
	rested(t, c)
	client.Write([]byte("x"))
	wk := make(woken, 1)
	if !engine.Of(c).Park(wk) {
		t.Fatal("not parked")
	}
	<-wk
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("%q, %v", b, err)
	}
}

func TestParkRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(c *transport.Conn, client net.Conn)
	}{
		{"a read deadline", func(c *transport.Conn, _ net.Conn) { c.SetReadDeadline(time.Now().Add(time.Hour)) }},
		{"reads stopped", func(c *transport.Conn, _ net.Conn) { c.StopReading(errors.New("enough")) }},
		{"closed", func(c *transport.Conn, _ net.Conn) { c.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, client := served(t)
			c.do(conn, client)
			if engine.Of(conn).RequestPark() || engine.Of(conn).Park(make(woken, 1)) {
				t.Error("allowed")
			}
		})
	}
	c, client := served(t)
	client.Write([]byte("x"))
	if _, err := c.Peek(1); err != nil {
		t.Fatal(err)
	}
	if engine.Of(c).Park(make(woken, 1)) {
		t.Error("parked with something to read")
	}
	srv, _ := net.Pipe()
	defer srv.Close()
	if c := transport.NewConn(transport.TCP{}, srv); engine.Of(c).RequestPark() || engine.Of(c).Park(make(woken, 1)) {
		t.Error("what is no socket cannot be waited for")
	}
}

// BenchmarkPark is what a rest costs: to be asked for it, to be parked, and to be woken by
// data, whose sending is part of it. The first who is parked, and the last who is woken, pay for the lot.
func BenchmarkPark(b *testing.B) {
	b.Run("alone", park)
	b.Run("others=1", func(b *testing.B) {
		c, _ := served(b)
		rested(b, c)
		engine.Of(c).Park(make(woken, 1))
		park(b)
	})
}

func park(b *testing.B) {
	c, client := served(b)
	wk, msg := make(woken, 1), []byte("x")
	l := engine.Of(c).PooledReader()
	defer l.Release()
	for b.Loop() {
		engine.Of(c).RequestPark()
		if _, err := l.Next(1); err != idle.ErrPark {
			b.Fatal(err)
		}
		if !engine.Of(c).Park(wk) {
			b.Fatal("not parked")
		}
		client.Write(msg)
		<-wk
		if _, err := l.Next(1); err != nil {
			b.Fatal(err)
		}
	}
}
