package web

import (
	"bytes"
	"hash/maphash"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"goranch/internal/websock"
)

// Equal frames share their memory as long as one of them is in use.
func TestSharedFrames(t *testing.T) {
	s := sharedFrames{seed: maphash.MakeSeed()}
	long := strings.Repeat("a", minShared)
	for _, tt := range []struct {
		a, b string
		want bool
	}{{long, long, true}, {long, long + "b", false}, {long[1:], long[1:], false}} {
		a, b := s.clone([]byte(tt.a)), s.clone([]byte(tt.b))
		if string(a) != tt.a || string(b) != tt.b || (&a[0] == &b[0]) != tt.want {
			t.Errorf("%d and %d bytes: got %q and %q, shared: %v, want them shared: %v", len(tt.a), len(tt.b), a, b, &a[0] == &b[0], tt.want)
		}
	}
	s.clone([]byte(long))
	runtime.GC()
	runtime.GC()
	for i := range s.slots {
		if w := s.slots[i].Load(); w != nil && w.Value() != nil {
			t.Errorf("got a frame of %d bytes that is not in use, want it collected", len(*w.Value()))
		}
	}
}

// The memory of a message depends on what has arrived, and is released.
func TestIncomingMemory(t *testing.T) {
	b := budget{limit: 300_000}
	m := incoming{budget: &b}
	var want []byte
	for arrived := 0; arrived < 250_000; {
		space, err := m.space()
		if err != nil {
			t.Fatalf("after %d bytes: got %v, want space", arrived, err)
		}
		n := min(len(space), 1+arrived/7)
		copy(space, bytes.Repeat([]byte{byte(n)}, n))
		want = append(want, space[:n]...)
		m.filled(n)
		if arrived += n; m.size > max(512, 2*arrived) || b.used.Load() != int64(m.size) {
			t.Fatalf("%d bytes: got %d in pieces and %d in the budget, want at most twice as many", arrived, m.size, b.used.Load())
		}
	}
	if got := m.join(); !bytes.Equal(got, want) || cap(got) == len(got) {
		t.Errorf("join: got %d bytes of %d, want those that arrived, and space for one", len(got), cap(got))
	}
	m.free()
	if b.used.Load() != 0 {
		t.Errorf("got %d bytes in the budget at the end, want 0", b.used.Load())
	}
}

// After a close frame there is no other frame.
func TestNoFrameAfterClose(t *testing.T) {
	server, client := net.Pipe()
	defer client.Close()
	go func() {
		c := &browserConn{Conn: server, timeout: time.Minute}
		c.Write([]byte{websock.CloseByte, 0})
		if err := c.writeText([]byte("x")); err != net.ErrClosed {
			t.Errorf("writeText: got %v, want net.ErrClosed", err)
		}
		server.Close()
	}()
	var got bytes.Buffer
	got.ReadFrom(client)
	if want := []byte{websock.CloseByte, 0}; !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %q, want %q", got.Bytes(), want)
	}
}

// A frame that is longer than MaxBuffered can follow others and precede others before it is taken.
func TestQueueLimit(t *testing.T) {
	for _, tt := range []struct {
		frames []int
		want   bool // of the last one
	}{
		{[]int{500}, true}, {[]int{500, 100}, true}, {[]int{500, 60, 40}, true}, {[]int{500, 101}, false},
		{[]int{100, 500}, true}, {[]int{60, 500, 40}, true}, {[]int{60, 500, 41}, false}, {[]int{40, 500, 500}, false},
		{[]int{60, 60, 60}, false}, {[]int{60, 60, 40}, true},
	} {
		g := &Gateway{queued: budget{limit: -1}}
		u := &upstream{g: g, opts: &Options{MaxBuffered: 100}, readable: make(chan struct{}, 1)}
		got := true
		for _, n := range tt.frames {
			got = u.push(make([]byte, n))
		}
		if got != tt.want {
			t.Errorf("frames of %d bytes: got %v, want %v", tt.frames, got, tt.want)
		}
	}
}
