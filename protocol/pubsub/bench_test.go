package pubsub_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// newServerWithSubscribers returns a server with subscribers that count the frames they receive.
func newServerWithSubscribers(t testing.TB, subscribers int, names ...string) (srv *testServer, got *atomic.Int64) {
	t.Helper()
	srv = newTestServer(t, pubsub.Options{History: -1, Heartbeat: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	got = new(atomic.Int64)
	for range subscribers {
		c := srv.client()
		for _, name := range names {
			c.subscribe(name)
		}
		c.nc.SetReadDeadline(time.Time{})
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.nc.Read(buf)
				got.Add(int64(bytes.Count(buf[:n], []byte{1})))
				if err != nil {
					return
				}
			}
		}()
	}
	return srv, got
}

// BenchmarkPublish publishes one message to 1,000 subscribers in memory and waits until all have
// received it.
func BenchmarkPublish(b *testing.B) {
	for name, topics := range map[string][]string{"group": {"a.b"}, "pattern": {"a.*"}} {
		b.Run(name, func(b *testing.B) {
			const subscribers = 1000
			srv, got := newServerWithSubscribers(b, subscribers, topics...)
			data := bytes.Repeat([]byte("a"), 75)
			want := got.Load()
			publishOnce := func() {
				if n, err := srv.Publish("a.b", "e", "", data); n != subscribers || err != nil {
					b.Fatalf("Publish: got %d, %v, want %d subscribers", n, err, subscribers)
				}
				for want += subscribers; got.Load() < want; {
					runtime.Gosched()
				}
			}
			for range 20 {
				publishOnce()
			}
			b.ReportAllocs()
			for b.Loop() {
				publishOnce()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*subscribers), "ns/delivery")
		})
	}
}

// A delivery does not allocate, neither to a topic's subscriber nor to a pattern's.
func TestDeliveryAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, name := range []string{"a.b", "a.*"} {
		t.Run(name, func(t *testing.T) {
			const subscribers = 500
			srv, got := newServerWithSubscribers(t, subscribers, name)
			want := got.Load()
			publishOnce := func() {
				srv.Publish("a.b", "e", "", "x")
				for want += subscribers; got.Load() < want; {
					runtime.Gosched()
				}
			}
			for range 100 {
				publishOnce()
			}
			if n := testing.AllocsPerRun(200, publishOnce); n > subscribers/10 {
				t.Errorf("%d deliveries: got %v allocations, want at most %d", subscribers, n, subscribers/10)
			}
		})
	}
}

// BenchmarkSubscriber measures the memory of a subscriber, including the client's side.
func BenchmarkSubscriber(b *testing.B) {
	srv := newTestServer(b, pubsub.Options{Heartbeat: -1})
	before := heapBytes()
	for i := 0; b.Loop(); i++ {
		srv.client().subscribe(fmt.Sprint("x", i%100))
	}
	b.ReportMetric(float64(heapBytes()-before)/float64(b.N), "heap-B/subscriber")
}
