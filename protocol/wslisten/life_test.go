package wslisten_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/wslisten"
	"goranch/ranch"
	"goranch/transport"
)

// returns is a protocol that returns err when it has read something.
func returns(err error) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		if _, rerr := conn.Read(make([]byte, 10)); rerr != nil {
			return rerr
		}
		return err
	})
}

// The close code depends on how the protocol has ended.
func TestCloseCodes(t *testing.T) {
	for _, tt := range []struct {
		err    error
		code   int
		reason string
		end    conns.Reason
	}{
		{nil, 1000, "", conns.Finished},
		{io.EOF, 1000, "", conns.PeerClosed},
		{fmt.Errorf("%w: a word", protocol.ErrBadInput), 1008, "bad input: a word", conns.BadInput},
		{fmt.Errorf("%w: %s", protocol.ErrBadInput, strings.Repeat("€", 100)), 1008, "bad input: " + strings.Repeat("€", 37), conns.BadInput},
		{protocol.ErrFrameTooLarge, 1009, "bad input: frame too large", conns.BadInput},
		{protocol.ErrQueueFull, 1013, protocol.ErrQueueFull.Error(), conns.QueueFull},
		{errors.New("the password of the database is wrong"), 1011, "", conns.Failed},
		{context.DeadlineExceeded, 1001, "timeout", conns.TimedOut},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, wslisten.Options{}, ranch.Options{}, returns(tt.err))
			c := s.dial(t)
			c.send(frame(text, "x"))
			if code, reason := c.closeCode(); code != tt.code || reason != tt.reason {
				t.Errorf("%v: got close code %d, %q, want %d, %q", tt.err, code, reason, tt.code, tt.reason)
			}
			c.send(frame(closing, code(uint16(tt.code))))
			began := time.Now()
			if e := s.end(t); e.Reason != tt.end || time.Since(began) != 0 {
				t.Errorf("%v: got end %v after %v, want %v at once", tt.err, e.Reason, time.Since(began), tt.end)
			}
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("%v: got %v after the close frames, want io.EOF", tt.err, err)
			}
		})
	}
}

// A panic is 1011 too, and costs its own connection only.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{}, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			conn.Read(make([]byte, 10))
			panic("secret")
		}))
		c, other := s.dial(t), s.dial(t)
		c.send(frame(text, "x"))
		if code, reason := c.closeCode(); code != 1011 || reason != "" {
			t.Errorf("got close code %d, %q, want 1011", code, reason)
		}
		if e := s.end(t); e.Reason != conns.Panicked {
			t.Errorf("got end %v, want %v", e.Reason, conns.Panicked)
		}
		other.send(frame(ping, "1")) // its protocol still reads
		other.expect(pong, "1")
	})
}

// The close of the client is io.EOF for the protocol, which may still send.
func TestClientCloses(t *testing.T) {
	for _, tt := range []struct {
		in  string
		err error
		end conns.Reason
	}{
		{frame(closing, code(1000)), io.EOF, conns.PeerClosed},
		{frame(closing, code(1001)+"away"), io.EOF, conns.PeerClosed},
		{frame(closing, ""), io.EOF, conns.PeerClosed},
		{frame(closing, code(4000)), io.ErrUnexpectedEOF, conns.PeerClosed},
		{"", io.ErrUnexpectedEOF, conns.PeerClosed}, // disconnects
		{"\x82\x85\x00\x00", io.ErrUnexpectedEOF, conns.PeerClosed},
		{"\x82\x85\x00\x00\x00\x00ab", io.ErrUnexpectedEOF, conns.PeerClosed},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, wslisten.Options{}, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
				_, err := io.ReadAll(conn)
				if !errors.Is(err, tt.err) && (err != nil || tt.err != io.EOF) {
					t.Errorf("%q: got %v, want %v", tt.in, err, tt.err)
				}
				io.WriteString(conn, "the last answer")
				if _, again := conn.Read(make([]byte, 1)); !errors.Is(again, tt.err) {
					t.Errorf("%q: got %v from the next read, want %v", tt.in, again, tt.err)
				}
				return tt.err
			}))
			c := s.dial(t)
			c.send(tt.in)
			if !strings.HasPrefix(tt.in, "\x88") {
				c.Close()
			} else {
				c.expect(binaryFrame, "the last answer")
				want := 1005
				if len(tt.in) > 6 {
					want = int(tt.in[6]^1)<<8 | int(tt.in[7]^2) // the code that the client has sent
				}
				if got, _ := c.closeCode(); got != want {
					t.Errorf("%q: got close code %d, want %d", tt.in, got, want)
				}
			}
			if e := s.end(t); e.Reason != tt.end {
				t.Errorf("%q: got end %v (%v), want %v", tt.in, e.Reason, e.Err, tt.end)
			}
		})
	}
}

// A drain closes with 1001, and a client that does not answer, or sends without end, is closed
// after CloseTimeout.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{}, ranch.Options{}, echo)
		polite, silent, busy, half := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
		half.send("\x82\xfe") // a drain interrupts a read within a frame
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for {
				if _, err := io.WriteString(busy, frame(ping, "")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		go io.Copy(io.Discard, busy)
		synctest.Wait()
		stopped := make(chan error, 1)
		began := time.Now()
		go func() { stopped <- s.chat.Stop() }()
		if code, reason := polite.closeCode(); code != 1001 || reason != protocol.ErrShutdown.Error() {
			t.Errorf("got close code %d, %q, want 1001, %q", code, reason, protocol.ErrShutdown)
		}
		polite.send(frame(binaryFrame, "late") + frame(closing, code(1001)))
		if e := s.end(t); e.Reason != conns.Shutdown || time.Since(began) != 0 {
			t.Errorf("got end %v (%v) after %v, want %v at once", e.Reason, e.Err, time.Since(began), conns.Shutdown)
		}
		for _, c := range []*client{silent, half} {
			if code, _ := c.closeCode(); code != 1001 {
				t.Errorf("got close code %d, want 1001", code)
			}
		}
		if err := <-stopped; err != nil || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("Stop: got %v after %v, want no error after a second", err, time.Since(began))
		}
		for range 3 {
			if e := s.end(t); e.Reason != conns.Shutdown {
				t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.Shutdown)
			}
		}
		if _, res := s.request(t, ""); res.StatusCode != 503 {
			t.Errorf("after the stop: got status %d, want 503", res.StatusCode)
		}
	})
}

// Limits of the listener close with 1001 and their reason.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{}, ranch.Options{Limits: conns.Limits{IdleTimeout: time.Minute}}, echo)
		c := s.dial(t)
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() { // pings, and a message that does not end, are no traffic
			c.send(frame(0x02, ""))
			for range 200 {
				if _, err := io.WriteString(c, frame(0x00, "")+frame(pong, "")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		for {
			f, p := c.receive()
			if f == ping {
				continue
			}
			if want := code(1001) + "idle timeout"; f != closing || p != want {
				t.Errorf("got frame %#x %q, want the close frame %q", f, p, want)
			}
			break
		}
		if e := s.end(t); e.Reason != conns.IdleTimeout {
			t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.IdleTimeout)
		}
	})
}

// A client that does not answer pings is closed; one that answers stays.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{KeepAlive: time.Minute}, ranch.Options{}, echo)
		c, began := s.dial(t), time.Now()
		for range 3 {
			c.expect(ping, "")
			c.send(frame(pong, ""))
		}
		if d := time.Since(began); d != 5*time.Minute {
			t.Errorf("got three pings in %v, want one each second minute", d)
		}
		c.expect(ping, "") // is not answered
		if code, _ := c.closeCode(); code != 1001 {
			t.Errorf("got close code %d, want 1001", code)
		}
		if e := s.end(t); e.Reason != conns.TimedOut {
			t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.TimedOut)
		}
	})
}

// A deadline interrupts a read at any byte, and the next read continues.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, wslisten.Options{}, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			b := make([]byte, 10)
			for {
				conn.SetReadDeadline(time.Now().Add(time.Second))
				n, err := conn.Read(b)
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
				if n > 0 {
					conn.Write(b[:n])
				}
			}
		}))
		c := s.dial(t)
		in := frame(binaryFrame, "ab") + frame(ping, "p")
		for i := range len(in) {
			c.send(in[i : i+1])
			time.Sleep(1500 * time.Millisecond)
		}
		c.expect(binaryFrame, "a")
		c.expect(binaryFrame, "b")
		c.expect(pong, "p")
	})
}
