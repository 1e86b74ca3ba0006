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

// Each way in which a connection can end is seen.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(h *protocoltest.Harness)
		want conns.Reason
	}{
		{"stop", func(h *protocoltest.Harness) { h.Send("quit") }, conns.Finished},
		{"the peer", func(h *protocoltest.Harness) { h.Close() }, conns.PeerClosed},
		{"half", func(h *protocoltest.Harness) { h.CloseWrite() }, conns.PeerClosed},
		{"silence", func(h *protocoltest.Harness) { h.Advance(61 * time.Minute) }, conns.TimedOut},
		{"garbage", func(h *protocoltest.Harness) { h.Write(make([]byte, 300_000)) }, conns.BadInput},
		{"shutdown", func(h *protocoltest.Harness) { h.Shutdown() }, conns.Shutdown},
		{"from outside", func(h *protocoltest.Harness) { h.Peer().Close(errors.New("enough")) }, conns.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := protocoltest.Open(t, newGreeter, options)
				if h.Ended() {
					t.Error("ended before it began")
				}
				c.does(h)
				h.ExpectEnd(c.want)
			})
		})
	}
}

// More than the connection holds goes through, and nothing is made up.
func TestLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return echo{} }, protocol.Options{Codec: protocol.LengthPrefix{}})
		big := string(make([]byte, 200_000))
		h.Send(big, "", big)
		h.Expect(big, "", big)
		h.ExpectNothing()
		if h.Conn() == nil || h.Peer() == nil {
			t.Error("no connection")
		}
	})
}

// A handler over a connection that passes a byte at a time, and one that breaks anywhere, ends in order.
func TestFlakyHandler(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			f := &protocoltest.Flaky{Conn: a, Seed: seed, Most: 1, Chance: 0.01, ReadBytes: 200}
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
				t.Errorf("%q, %v", all, err)
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
			t.Errorf("%q, %v after %v", got, err, time.Since(begin))
		}
		s.Close()

		a, b = net.Pipe()
		s = protocoltest.NewSlow(a, 0, 0)
		s.SetDeadline(time.Now().Add(time.Minute))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		s.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { s.Close() })
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("read after the end")
		}
		s.Close()
		b.Close()
	})
}
