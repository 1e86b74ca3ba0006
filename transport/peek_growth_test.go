package transport_test

import (
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// Peeking byte by byte does not copy all data each time.
func TestPeekGrows(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	go peer.Write(make([]byte, engine.MaxPeek))
	if b, err := conn.Peek(engine.MaxPeek / 2); err != nil || len(b) < engine.MaxPeek/2 {
		t.Fatalf("Peek: got %d bytes, %v, want half of the maximum", len(b), err)
	}
	n := engine.MaxPeek / 2
	allocs := testing.AllocsPerRun(100, func() {
		n++
		if _, err := conn.Peek(n); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 1 {
		t.Errorf("got %v allocations for each byte, want less than 1", allocs)
	}
	if b, err := conn.Peek(engine.MaxPeek); len(b) != engine.MaxPeek || cap(b) > engine.MaxPeek || err != nil {
		t.Errorf("Peek of the maximum: got %d bytes, %v, want all", len(b), err)
	}
}
