package conns_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

func BenchmarkGate(b *testing.B) {
	pass := func(g *conns.Gate) {
		if g.Reserve(bg) != nil || !g.TryConfirm() {
			b.Error("got no slot of a gate that has one, want one")
		}
		g.Release()
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		g := conns.NewGate(1)
		for b.Loop() {
			pass(g)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		g := conns.NewGate(1 << 20)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				pass(g)
			}
		})
	})
	b.Run("parallel at the cap", func(b *testing.B) { // all but one wait
		b.ReportAllocs()
		g := conns.NewGate(1)
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				pass(g)
			}
		})
	})
}

// void is a connection that costs nothing, so that only the supervisor is measured.
type nullConn struct{}

func (nullConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (nullConn) Write(p []byte) (int, error)      { return len(p), nil }
func (nullConn) Close() error                     { return nil }
func (nullConn) LocalAddr() net.Addr              { return stubAddr("local") }
func (nullConn) RemoteAddr() net.Addr             { return stubAddr("remote") }
func (nullConn) SetDeadline(time.Time) error      { return nil }
func (nullConn) SetReadDeadline(time.Time) error  { return nil }
func (nullConn) SetWriteDeadline(time.Time) error { return nil }

// liveSupervisor returns a supervisor with n connections that stay, and a gate with free slots.
func liveSupervisor(b *testing.B, n, free int) (*conns.Gate, *conns.Supervisor) {
	b.Helper()
	g := conns.NewGate(n + free)
	s := conns.New(conns.Config{Gate: g})
	stay := protocol.Func(func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return nil })
	for range n {
		useSlots(b, g, 1)
		s.Start(bg, plain, nullConn{}, stay)
	}
	b.Cleanup(func() {
		if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
			b.Error(err)
		}
	})
	return g, s
}

var liveCounts = []int{0, 1_000, 100_000}

// The cost that the supervisor and the gate add to a connection, while others are live.
func BenchmarkSupervisor(b *testing.B) {
	trivial := protocol.Func(func(context.Context, *transport.Conn) error { return nil })
	for _, n := range liveCounts {
		b.Run(fmt.Sprintf("live=%d/one at a time", n), func(b *testing.B) {
			g, s := liveSupervisor(b, n, 1)
			b.ReportAllocs()
			for b.Loop() {
				if g.Reserve(bg) != nil || !g.TryConfirm() { // waits until the one before has ended
					b.Fatal("got no slot, want one")
				}
				s.Start(bg, plain, nullConn{}, trivial)
			}
			b.StopTimer()
		})
		b.Run(fmt.Sprintf("live=%d/parallel", n), func(b *testing.B) {
			g, s := liveSupervisor(b, n, 100)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if g.Reserve(bg) != nil || !g.TryConfirm() {
						b.Error("got no slot, want one")
						return
					}
					s.Start(bg, plain, nullConn{}, trivial)
				}
			})
			b.StopTimer()
		})
	}
}

// The cost of a look at the supervisor: a Select by id searches one shard, State none, and Counters
// reads the counters of all.
func BenchmarkAsk(b *testing.B) {
	for _, n := range liveCounts[1:] {
		g, s := liveSupervisor(b, n, 0)
		all := list(s)
		i := 0
		for _, ask := range []struct {
			name string
			do   func()
		}{
			{"Get", func() { s.Select(conns.Query{ID: all[i%len(all)].ID}); i += 7919 }},
			{"State", func() { g.State() }},
			{"Counters", func() { s.Counters() }},
			{"List", func() { list(s) }},
		} {
			b.Run(fmt.Sprintf("%s/live=%d", ask.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					ask.do()
				}
			})
		}
	}
}
