//go:build !race

package protocol_test

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// echoed sends b and reads as much, again and again, and returns how often that allocates.
func echoed(t *testing.T, codec protocol.Codec, b []byte, pieces ...int) float64 {
	t.Helper()
	l, _ := serveOver(t, transport.TCP{}, echoFrames, protocol.Options{Codec: codec, Queue: protocol.QueueOptions{MaxBytes: 8 << 20}})
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	back := make([]byte, len(b))
	once := func() {
		rest := b
		for _, n := range pieces {
			nc.Write(rest[:n])
			rest = rest[n:]
			runtime.Gosched()
		}
		nc.Write(rest)
		if _, err := io.ReadFull(nc, back); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		once()
	}
	return testing.AllocsPerRun(1000, once)
}

// An echoed frame costs no allocation, be it whole or cut.
func TestEchoAllocs(t *testing.T) {
	small, large := frame(string(make([]byte, 64))), frame(string(make([]byte, 3000)))
	many := []byte{}
	for range 100 {
		many = append(many, large...)
	}
	for _, c := range []struct {
		name   string
		codec  protocol.Codec
		in     []byte
		pieces []int
		most   float64 // of one round
	}{
		{"raw", nil, make([]byte, 64), nil, 0},
		{"length prefix", protocol.LengthPrefix{}, small, nil, 0},
		{"cut in its length", protocol.LengthPrefix{}, small, []int{2}, 0},
		{"cut", protocol.LengthPrefix{}, large, []int{10, 2000}, 0},
		{"lines", protocol.Lines{}, []byte("hello, world\n"), []int{3}, 0},
		{"100 frames cut by the buffer", protocol.LengthPrefix{}, many, nil, 20}, // the queue, if the client is slow
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := echoed(t, c.codec, c.in, c.pieces...); n > c.most {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// A broadcast costs what it costs once, and nothing for each member.
func TestBroadcastAllocs(t *testing.T) {
	const members = 200
	g := protocol.NewGroup(protocol.LengthPrefix{})
	peers := make(chan *protocol.Peer, members)
	l, _ := serveOver(t, transport.TCP{}, one(&script{connect: func(p *protocol.Peer) protocol.Action {
		g.Join(p)
		peers <- p
		return protocol.Continue()
	}}), protocol.Options{Codec: protocol.LengthPrefix{}})
	got := make(chan uint32, members)
	for range members {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		go func() {
			b := make([]byte, 8)
			for {
				if _, err := io.ReadFull(nc, b); err != nil {
					return
				}
				got <- binary.BigEndian.Uint32(b[4:])
			}
		}()
		<-peers
	}
	frame := make([]byte, 4)
	n := testing.AllocsPerRun(100, func() {
		g.Broadcast(frame)
		for range members {
			<-got
		}
	})
	if n > members/10 {
		t.Errorf("%v allocations for %d members", n, members)
	}
}

// Idle connections with a tick and a timeout have a goroutine each, and one for them all.
func TestIdleGoroutines(t *testing.T) {
	const n = 900
	peers := make(chan *protocol.Peer, n)
	s := serve(t, one(&script{
		connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
	}), protocol.Options{Tick: time.Hour, ReadTimeout: time.Hour, Codec: protocol.Lines{}})
	s.SetMaxConnections(n)
	before := runtime.NumGoroutine()
	for range n {
		s.dial(t)
		<-peers
	}
	if got := runtime.NumGoroutine() - before; got > n+10 {
		t.Errorf("%d goroutines for %d connections", got, n)
	}
}
