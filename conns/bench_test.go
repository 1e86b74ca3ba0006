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
			b.Error("there is room, but not for us")
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
type void struct{}

func (void) Read([]byte) (int, error)         { return 0, io.EOF }
func (void) Write(p []byte) (int, error)      { return len(p), nil }
func (void) Close() error                     { return nil }
func (void) LocalAddr() net.Addr              { return stubAddr("here") }
func (void) RemoteAddr() net.Addr             { return stubAddr("there") }
func (void) SetDeadline(time.Time) error      { return nil }
func (void) SetReadDeadline(time.Time) error  { return nil }
func (void) SetWriteDeadline(time.Time) error { return nil }

// crowd returns a supervisor with n connections that live, and stay, and a gate with
// room for more.
func crowd(b *testing.B, n, room int) (*conns.Gate, *conns.Supervisor) {
	b.Helper()
	g := conns.NewGate(n + room)
	s := conns.New(conns.Config{Gate: g})
	stay := protocol.Func(func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return nil })
	for range n {
		take(b, g, 1)
		s.Start(bg, plain, void{}, stay)
	}
	b.Cleanup(func() {
		if err := s.Shutdown(bg); err != nil {
			b.Error(err)
		}
	})
	return g, s
}

var crowds = []int{0, 1_000, 100_000}

// Accept, serve, end: what the supervisor and the gate add to a connection, while others live.
func BenchmarkSupervisor(b *testing.B) {
	trivial := protocol.Func(func(context.Context, *transport.Conn) error { return nil })
	for _, n := range crowds {
		b.Run(fmt.Sprintf("live=%d/one at a time", n), func(b *testing.B) {
			g, s := crowd(b, n, 1)
			b.ReportAllocs()
			for b.Loop() {
				if g.Reserve(bg) != nil || !g.TryConfirm() { // parks until the one before has ended
					b.Fatal("no room")
				}
				s.Start(bg, plain, void{}, trivial)
			}
			b.StopTimer()
		})
		b.Run(fmt.Sprintf("live=%d/parallel", n), func(b *testing.B) {
			g, s := crowd(b, n, 100)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if g.Reserve(bg) != nil || !g.TryConfirm() {
						b.Error("no room")
						return
					}
					s.Start(bg, plain, void{}, trivial)
				}
			})
			b.StopTimer()
		})
	}
}

// What an operator's question costs: Get looks through one shard, State and Counters
// through none and all of the shards' heads.
func BenchmarkAsk(b *testing.B) {
	for _, n := range crowds[1:] {
		g, s := crowd(b, n, 0)
		all := list(s)
		i := 0
		for _, ask := range []struct {
			name string
			do   func()
		}{
			{"Get", func() { s.Get(all[i%len(all)].ID); i += 7919 }},
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
