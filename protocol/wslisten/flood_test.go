package wslisten_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/wslisten"
	"goranch/ranch"
	"goranch/transport"
)

// A flood of pings costs at most one pong per read, and none while the client does not read.
func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{}, ranch.Options{}, echo)
		c := s.dial(t)
		const pings = 10_000
		go c.send(strings.Repeat(frame(ping, "0123456789"), pings) + frame(ping, "last") + frame(binaryFrame, "x"))
		pongs := 0
		for {
			first, payload := c.receive()
			if first == binaryFrame {
				break
			}
			if pongs++; first != pong || payload != "0123456789" && payload != "last" {
				t.Fatalf("got frame %#x %q, want a pong", first, payload)
			}
		}
		if pongs > pings/50 {
			t.Errorf("got %d pongs for %d pings, want at most one per read", pongs, pings)
		}
	})
}

// A client that sends pings and does not read is closed after the write timeout.
func TestPingsOfAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{WriteTimeout: 5 * time.Second}, ranch.Options{}, echo)
		c := s.dial(t)
		go func() {
			for {
				if _, err := io.WriteString(c, frame(ping, strings.Repeat("x", 125))); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		if e := s.end(t); e.Reason != conns.SendTimeout && e.Reason != conns.PeerClosed || time.Since(began) > 10*time.Second {
			t.Errorf("got end %v (%v) after %v, want %v after some seconds", e.Reason, e.Err, time.Since(began), conns.SendTimeout)
		}
	})
}

// A write to a client that does not read ends after WriteTimeout, and the closing handshake after
// CloseTimeout.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{WriteTimeout: 5 * time.Second}, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			for {
				if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
					if _, again := conn.Write([]byte("x")); !errors.Is(again, transport.ErrSendTimeout) {
						t.Errorf("got %v from a write within a message, want the same error", again)
					}
					return err
				}
			}
		}))
		s.dial(t)
		began := time.Now()
		if e := s.end(t); e.Reason != conns.SendTimeout || time.Since(began) > 7*time.Second {
			t.Errorf("got end %v (%v) after %v, want %v after 5s", e.Reason, e.Err, time.Since(began), conns.SendTimeout)
		}
	})
}

// Text is divided at characters, and must be UTF-8.
func TestText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 2)
		s := newServer(t, wslisten.Options{Text: true}, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			for _, p := range []string{"a\xe2", "\x82", "\xac", "b"} {
				if n, err := io.WriteString(conn, p); n != len(p) || err != nil {
					t.Errorf("write %q: got %d, %v, want all of it", p, n, err)
				}
			}
			_, err := io.WriteString(conn, "c\xffd")
			errs <- err
			return nil
		}))
		c := s.dial(t)
		for _, want := range []string{"a", "€", "b"} {
			c.expect(text, want)
		}
		if err := <-errs; err == nil {
			t.Error("write of invalid UTF-8: got no error, want one")
		}
		c.closeCode()
	})
}
