package idle_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"goranch/internal/idle"
)

// conn is a TCP connection as a server uses it: all reads go through reads.
type conn struct {
	net.Conn
	raw    syscall.RawConn
	reads  idle.Reads
	client net.Conn
}

func newConn(tb testing.TB) *conn {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	nc, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	c := &conn{Conn: nc, raw: raw, client: client}
	tb.Cleanup(c.close)
	return c
}

func (c *conn) close() {
	c.reads.Close()
	c.Conn.Close()
}

// read reads one byte, and returns the reason of an interruption as its error.
func (c *conn) read() error {
	_, err := c.Conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if cause := c.reads.Interruption(c.Conn); cause != nil {
			return cause
		}
	}
	return err
}

func (c *conn) interrupt(tb testing.TB) {
	tb.Helper()
	if !c.reads.RequestPark(c.Conn) {
		tb.Fatal("RequestPark: got false, want true")
	}
	if err := c.read(); err != idle.ErrPark {
		tb.Fatalf("interrupted read: got %v, want ErrPark", err)
	}
}

// waker counts wake-ups.
type waker chan struct{}

func (w waker) Wake()            { w <- struct{}{} }
func (w waker) Ready(*idle.Lead) { w <- struct{}{} }

var errStopped = errors.New("stopped")

func TestParkedConnIsWokenOnce(t *testing.T) {
	for name, wake := range map[string]func(c *conn){
		"data":          func(c *conn) { c.client.Write([]byte("x")) },
		"end of stream": func(c *conn) { c.client.Close() },
		"SetDeadline":   func(c *conn) { c.reads.SetDeadline(c.Conn, time.Now().Add(time.Hour)) },
		"Stop":          func(c *conn) { c.reads.Stop(c.Conn, errStopped) },
		"Close":         func(c *conn) { c.reads.Close() },
		"all of them": func(c *conn) {
			c.client.Write([]byte("x"))
			c.reads.SetDeadline(c.Conn, time.Now().Add(time.Hour))
			c.reads.Stop(c.Conn, errStopped)
			c.close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConn(t)
			c.interrupt(t)
			w := make(waker, 9)
			if !c.reads.Park(c.raw, w, nil) {
				t.Fatal("Park: got false, want true")
			}
			if c.reads.Park(c.raw, w, nil) || c.reads.RequestPark(c.Conn) {
				t.Error("Park and RequestPark of a parked connection: got true, want false")
			}
			wake(c)
			<-w
			c.close()
			if n := len(w); n != 0 {
				t.Errorf("got %d wake-ups, want 1", n+1)
			}
		})
	}
}

// A connection whose data arrived before Park is woken at once.
func TestParkWithDataInSocket(t *testing.T) {
	c := newConn(t)
	c.interrupt(t)
	c.client.Write([]byte("x"))
	w := make(waker, 1)
	if !c.reads.Park(c.raw, w, nil) {
		t.Fatal("Park: got false, want true")
	}
	<-w
	if err := c.read(); err != nil {
		t.Errorf("read: got %v, want the data", err)
	}
}

// A connection can be parked again after a wake-up.
func TestParkAgain(t *testing.T) {
	c := newConn(t)
	w := make(waker, 1)
	for range 100 {
		c.interrupt(t)
		if !c.reads.Park(c.raw, w, nil) {
			t.Fatal("Park: got false, want true")
		}
		c.client.Write([]byte("x"))
		<-w
		if err := c.read(); err != nil {
			t.Fatalf("read: got %v, want the data", err)
		}
	}
}

func TestParkIsRefused(t *testing.T) {
	for name, f := range map[string]func(c *conn){
		"deadline": func(c *conn) { c.reads.SetDeadline(c.Conn, time.Now().Add(time.Hour)) },
		"stopped":  func(c *conn) { c.reads.Stop(c.Conn, errStopped) },
		"closed":   func(c *conn) { c.reads.Close() },
		"suspend":  func(c *conn) { c.reads.Suspend(c.Conn, true) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConn(t)
			f(c)
			if c.reads.RequestPark(c.Conn) || c.reads.Park(c.raw, make(waker, 1), nil) {
				t.Error("RequestPark, Park: got true, want false")
			}
		})
	}
}

// Each of these calls withdraws a request, so that the next read is not interrupted by it.
func TestRequestIsWithdrawn(t *testing.T) {
	for name, f := range map[string]func(c *conn){
		"deadline": func(c *conn) { c.reads.SetDeadline(c.Conn, time.Now().Add(time.Hour)) },
		"removed deadline": func(c *conn) {
			c.reads.SetDeadline(c.Conn, time.Time{})
		},
		"suspend": func(c *conn) { c.reads.Suspend(c.Conn, true) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConn(t)
			if !c.reads.RequestPark(c.Conn) || c.reads.RequestPark(c.Conn) {
				t.Fatal("RequestPark: got false or true twice, want true once")
			}
			f(c)
			c.client.Write([]byte("x"))
			if err := c.read(); err != nil {
				t.Errorf("read: got %v, want the data", err)
			}
		})
	}
}

// After Suspend has ended, the connection can be parked.
func TestSuspend(t *testing.T) {
	c := newConn(t)
	c.reads.Suspend(c.Conn, true)
	c.reads.Suspend(c.Conn, false)
	c.interrupt(t)
}

func TestStop(t *testing.T) {
	c := newConn(t)
	if err := c.reads.Stopped(); err != nil {
		t.Errorf("Stopped: got %v, want nil", err)
	}
	c.reads.RequestPark(c.Conn)
	c.reads.Stop(c.Conn, errStopped)
	c.reads.Stop(c.Conn, errors.New("second"))
	c.reads.SetDeadline(c.Conn, time.Time{}) // has no effect
	for range 2 {
		if err := c.read(); err != errStopped {
			t.Errorf("read: got %v, want the first cause", err)
		}
	}
	if err := c.reads.Stopped(); err != errStopped {
		t.Errorf("Stopped: got %v, want the first cause", err)
	}
}

func TestDeadlineOfUser(t *testing.T) {
	c := newConn(t)
	c.reads.SetDeadline(c.Conn, time.Now().Add(time.Millisecond))
	if err := c.read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: got %v, want ErrDeadlineExceeded", err)
	}
}

// A blocked read is interrupted, not only the next one.
func TestRequestInterruptsBlockedRead(t *testing.T) {
	c := newConn(t)
	done := make(chan error, 1)
	go func() { done <- c.read() }()
	time.Sleep(time.Millisecond) // usually enough for the read to block; the result is the same otherwise
	if !c.reads.RequestPark(c.Conn) {
		t.Fatal("RequestPark: got false, want true")
	}
	if err := <-done; err != idle.ErrPark {
		t.Errorf("read: got %v, want ErrPark", err)
	}
}

// Wake-ups by the poller and by Close that happen at the same time are one wake-up.
func TestConcurrentWakeUps(t *testing.T) {
	for range 200 {
		c := newConn(t)
		c.interrupt(t)
		w := make(waker, 2)
		if !c.reads.Park(c.raw, w, nil) {
			t.Fatal("Park: got false, want true")
		}
		go c.client.Write([]byte("x"))
		c.close()
		<-w
		c.client.Close()
		if len(w) != 0 {
			t.Fatal("got 2 wake-ups, want 1")
		}
	}
}

// BenchmarkPark measures one cycle of request, interruption, park and wake-up by data, including
// the write of the client. Alone, each cycle also creates and closes the epoll instance.
func BenchmarkPark(b *testing.B) {
	b.Run("alone", benchmarkPark)
	b.Run("others=1", func(b *testing.B) {
		c := newConn(b)
		c.interrupt(b)
		c.reads.Park(c.raw, make(waker, 1), nil)
		benchmarkPark(b)
	})
}

func benchmarkPark(b *testing.B) {
	c := newConn(b)
	w, msg := make(waker, 1), []byte("x")
	for b.Loop() {
		c.interrupt(b)
		if !c.reads.Park(c.raw, w, nil) {
			b.Fatal("Park: got false, want true")
		}
		c.client.Write(msg)
		<-w
		if err := c.read(); err != nil {
			b.Fatal(err)
		}
	}
}
