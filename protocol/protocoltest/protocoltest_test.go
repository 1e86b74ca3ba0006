package protocoltest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/protocoltest"
	"goranch/transport"
)

type echo struct{}

func (echo) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if err := p.Send(b); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// ExpectEnd gets the reason of each way in which a connection ends.
func TestExpectEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(h *protocoltest.Harness)
		want conns.Reason
	}{
		{"stop", func(h *protocoltest.Harness) { h.Send("quit") }, conns.Finished},
		{"the client closes", func(h *protocoltest.Harness) { h.Conn().Close() }, conns.PeerClosed},
		{"the client closes its side", func(h *protocoltest.Harness) { h.CloseWrite() }, conns.PeerClosed},
		{"timeout", func(h *protocoltest.Harness) { h.Advance(61 * time.Minute) }, conns.TimedOut},
		{"bad input", func(h *protocoltest.Harness) { h.Write(make([]byte, 300_000)) }, conns.BadInput},
		{"shutdown", func(h *protocoltest.Harness) { h.Shutdown() }, conns.Shutdown},
		{"Peer.Close", func(h *protocoltest.Harness) { h.Peer().Close(errors.New("enough")) }, conns.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := protocoltest.Open(t, newGreeter, options)
				if err := h.Peer().Context().Err(); err != nil {
					t.Errorf("before the end: got %v, want no error", err)
				}
				c.act(h)
				err := h.ExpectEnd(c.want)
				if (err == nil) != (c.want == conns.Finished) {
					t.Errorf("got error %v for the end %v", err, c.want)
				}
			})
		})
	}
}

// Frames larger than the buffer of the connection are sent and received.
func TestLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return echo{} }, protocol.Options{Codec: protocol.LengthPrefix{}})
		big := string(make([]byte, 200_000))
		h.Send(big, "", big)
		h.Expect(big, "", big)
		h.ExpectNothing()
		if h.Conn() == nil || h.Peer() == nil {
			t.Errorf("got connection %v and peer %v, want both", h.Conn(), h.Peer())
		}
	})
}

// A handler ends normally over a connection that passes single bytes and fails at any of them.
func TestFlakyHandler(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			f := protocoltest.NewFlaky(a, protocoltest.FlakyOptions{Seed: seed, Most: 1, Chance: 0.01, ReadBytes: 200})
			conn := transport.NewConn(new(transport.Mem), f)
			go func() {
				for range 100 {
					if _, err := io.WriteString(b, "hello\n"); err != nil {
						return
					}
				}
			}()
			got := make(chan []byte)
			go func() { all, _ := io.ReadAll(b); got <- all }()
			err := protocol.Handle(func() protocol.Handler { return echo{} }, protocol.Options{Codec: protocol.Lines{}}).Serve(t.Context(), conn)
			conn.Close()
			all := <-got
			b.Close()
			if !errors.Is(err, protocoltest.ErrFlaky) || !bytes.HasPrefix(bytes.Repeat([]byte("hello\n"), 100), all) {
				t.Errorf("got %q, %v, want a part of the echo and %v", all, err, protocoltest.ErrFlaky)
			}
		})
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := protocoltest.NewSlow(a, 3, time.Second)
		go func() { io.WriteString(b, "0123456789"); b.Close() }()
		begin := time.Now()
		if got, err := io.ReadAll(s); string(got) != "0123456789" || err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("got %q, %v after %v, want 0123456789 after 3s", got, err, time.Since(begin))
		}
		s.Close()

		a, b = net.Pipe()
		s = protocoltest.NewSlow(a, 0, 0)
		s.SetDeadline(time.Now().Add(time.Minute))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after the deadline: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
		s.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { s.Close() })
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("Read after Close: got no error")
		}
		s.Close()
		b.Close()
	})
}
