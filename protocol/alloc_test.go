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

// echoAllocs returns the number of allocations of one echo of b, which is sent in these pieces and
// a rest.
func echoAllocs(t *testing.T, codec protocol.Codec, b []byte, pieces ...int) float64 {
	t.Helper()
	l, _ := listen(t, transport.TCP{}, newEcho, protocol.Options{Codec: codec, Queue: protocol.QueueOptions{MaxBytes: 8 << 20}})
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

// An echo of a frame allocates nothing, even if the frame is divided.
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
		max    float64
	}{
		{"raw", nil, make([]byte, 64), nil, 0},
		{"length prefix", protocol.LengthPrefix{}, small, nil, 0},
		{"divided length", protocol.LengthPrefix{}, small, []int{2}, 0},
		{"divided frame", protocol.LengthPrefix{}, large, []int{10, 2000}, 0},
		{"lines", protocol.Lines{}, []byte("hello, world\n"), []int{3}, 0},
		{"100 frames, larger than the buffer", protocol.LengthPrefix{}, many, nil, 20}, // the queue, if the client is slow
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := echoAllocs(t, c.codec, c.in, c.pieces...); n > c.max {
				t.Errorf("got %v allocations, want at most %v", n, c.max)
			}
		})
	}
}

// Frames of named protocols allocate nothing, whether they arrive at once or divided.
func TestNamedCodecAllocs(t *testing.T) {
	for _, c := range namedFrames {
		for _, pieces := range [][]int{nil, {1}, {len(c.in) - 1}} {
			if n := echoAllocs(t, c.codec, c.in, pieces...); n > 0 {
				t.Errorf("%s in pieces of %v: got %v allocations, want 0", c.name, pieces, n)
			}
		}
	}
	args, command := make([][]byte, 0, 3), []byte("*3\r\n$3\r\nSET\r\n$6\r\nkey:12\r\n$5\r\nhello\r\n")
	if n := testing.AllocsPerRun(100, func() { args, _ = protocol.RESPArgs(args[:0], command) }); n > 0 || len(args) != 3 {
		t.Errorf("RESPArgs: got %v allocations and %d arguments, want 0 and 3", n, len(args))
	}
}

// The allocations of a broadcast do not depend on the number of members.
func TestBroadcastAllocs(t *testing.T) {
	const members = 200
	g := &protocol.Group{Codec: protocol.LengthPrefix{}}
	peers := make(chan *protocol.Peer, members)
	l, _ := listen(t, transport.TCP{}, shared(&script{connect: func(p *protocol.Peer) protocol.Action {
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
		g.Broadcast(frame, nil)
		for range members {
			<-got
		}
	})
	if n > members/10 {
		t.Errorf("got %v allocations for %d members, want at most %d", n, members, members/10)
	}
}

// Idle connections with ticks and timeouts have one goroutine each, and one that they share.
func TestIdleGoroutines(t *testing.T) {
	const n = 900
	peers := make(chan *protocol.Peer, n)
	s := newTestServer(t, shared(&script{
		connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
	}), protocol.Options{Tick: time.Hour, ReadTimeout: time.Hour, Codec: protocol.Lines{}})
	s.SetMaxConnections(n)
	before := runtime.NumGoroutine()
	for range n {
		s.dial(t)
		<-peers
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		got := runtime.NumGoroutine() - before
		if got <= n+10 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %d goroutines for %d connections, want at most %d", got, n, n+10)
		}
	}
}
