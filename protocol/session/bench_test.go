package session_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"goranch/protocol/session"
)

type sink struct{}

func (*sink) Deliver([]byte) error { return nil }
func (*sink) TakenOver(net.Addr)   {}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// What a session costs that nobody is attached to, its id and a small state included.
func BenchmarkDetached(b *testing.B) {
	const count = 100_000
	for b.Loop() {
		before := heap()
		m := begin(b, session.Options[state]{})
		for range count {
			l := create(b, m, &sink{})
			do(b, l.Detach())
		}
		b.ReportMetric(float64(heap()-before)/count, "bytes/session")
		if m.Stats().Detached != count {
			b.Fatal(m.Stats())
		}
	}
}

func BenchmarkAttach(b *testing.B) {
	for _, count := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			m := begin(b, session.Options[state]{})
			ids := make([]string, count)
			for i := range ids {
				l := create(b, m, &sink{})
				ids[i] = l.ID()
				do(b, l.Detach())
			}
			h := &sink{}
			i := 0
			for b.Loop() {
				l, err := m.Attach(b.Context(), ids[i%count], nil, h)
				do(b, err, l.Detach())
				i += 7
			}
		})
	}
}

func BenchmarkOutput(b *testing.B) {
	m := begin(b, session.Options[state]{})
	l := create(b, m, &sink{})
	p := []byte("output")
	b.ReportAllocs()
	for b.Loop() {
		l.Output(p)
	}
}

func TestOutputToAHolderAllocatesNothing(t *testing.T) {
	m := begin(t, session.Options[state]{})
	l := create(t, m, &sink{})
	p := []byte("output")
	if n := testing.AllocsPerRun(1000, func() { l.Output(p); l.Session().Output(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
