package session_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"goranch/protocol/session"
)

// discard is a Holder that accepts all output.
type discard struct{}

func (*discard) Deliver([]byte, int) error { return nil }
func (*discard) Revoked(net.Addr, error)   {}

func heapAlloc() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// Reports the memory of a detached session with its id and a state of 8 bytes.
func BenchmarkDetached(b *testing.B) {
	const count = 100_000
	for b.Loop() {
		before := heapAlloc()
		m := newManager(b, session.Options[state]{MaxPerAddress: -1, MaxBytesPerAddress: -1})
		for range count {
			s := create(b, m, &discard{})
			must(b, s.Detach())
		}
		b.ReportMetric(float64(heapAlloc()-before)/count, "bytes/session")
		if got := m.Stats().Detached; got != count {
			b.Fatalf("got %d detached sessions, want %d", got, count)
		}
	}
}

func BenchmarkAttach(b *testing.B) {
	for _, count := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			m := newManager(b, session.Options[state]{MaxPerAddress: -1, MaxBytesPerAddress: -1})
			ids := make([]string, count)
			for i := range ids {
				s := create(b, m, &discard{})
				ids[i] = s.ID()
				must(b, s.Detach())
			}
			h := &discard{}
			i := 0
			for b.Loop() {
				s, err := m.Attach(b.Context(), ids[i%count], nil, h)
				must(b, err, s.Detach())
				i += 7
			}
		})
	}
}

func BenchmarkOutput(b *testing.B) {
	m := newManager(b, session.Options[state]{})
	s := create(b, m, &discard{})
	p := []byte("output")
	b.ReportAllocs()
	for b.Loop() {
		s.Output(p)
	}
}

func TestOutputDoesNotAllocate(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	s := create(t, m, &discard{})
	p := []byte("output")
	if n := testing.AllocsPerRun(1000, func() { s.Output(p); s.Unbound().Output(p) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
