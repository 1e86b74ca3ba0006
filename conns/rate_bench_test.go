package conns_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// endlessConn is a connection whose peer sends all the time and receives everything: a read or
// write costs nothing, so that only the layers above are measured.
type endlessConn struct {
	nullConn
}

func (endlessConn) Read(p []byte) (int, error) { return len(p), nil }

const (
	rateMessage = 64
	plenty      = 1 << 30 // bytes per second that no benchmark reaches
)

// exchange reads and writes one message per iteration. begin and end mark it.
func exchange(b *testing.B, conn net.Conn, mark func(receiving bool)) {
	p := make([]byte, rateMessage)
	b.ReportAllocs()
	for b.Loop() {
		mark(true)
		if _, err := io.ReadFull(conn, p); err != nil {
			b.Error(err)
			return
		}
		mark(false)
		if _, err := conn.Write(p); err != nil {
			b.Error(err)
			return
		}
	}
}

// The cost of limits of bytes per second for one message that is read and one that is written: a
// plain connection, a supervised one without limits, and with limits that are never reached.
// "marked" calls SetReceiving for each message, which MinReceiveRate requires.
func BenchmarkRateLimits(b *testing.B) {
	unmarked := func(bool) {}
	b.Run("plain connection", func(b *testing.B) { exchange(b, endlessConn{}, unmarked) })
	for _, c := range []struct {
		name   string
		limits conns.Limits
		marked bool
	}{
		{"unset", conns.Limits{}, false},
		{"unset, marked", conns.Limits{}, true},
		{"MinReceiveRate, marked", conns.Limits{MinReceiveRate: 1}, true},
		{"ReceiveRate and SendRate", conns.Limits{ReceiveRate: plenty, SendRate: plenty}, false},
		{"TotalReceiveRate and TotalSendRate", conns.Limits{TotalReceiveRate: plenty, TotalSendRate: plenty}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			done := make(chan struct{})
			p := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
				defer close(done)
				mark := unmarked
				if c.marked {
					mark = conn.SetReceiving
				}
				exchange(b, conn, mark)
				return nil
			})
			g := conns.NewGate(1)
			s := conns.New(conns.Config{Gate: g, Settings: conns.Settings{Limits: c.limits, Grace: time.Second}})
			useSlots(b, g, 1)
			s.Start(bg, transport.TCP{SendTimeout: transport.NoTimeout}, endlessConn{}, p)
			<-done
			if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
				b.Error(err)
			}
		})
	}
}
