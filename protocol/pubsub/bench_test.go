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

// crowded returns a server with subscribers who read and count.
func crowded(b testing.TB, subscribers int, names ...string) (tn *town, got *atomic.Int64) {
	tn = found(b, pubsub.Options{History: -1, Heartbeat: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	got = new(atomic.Int64)
	for range subscribers {
		one := tn.bot()
		for _, name := range names {
			one.subscribes(name)
		}
		one.nc.SetReadDeadline(time.Time{})
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := one.nc.Read(buf)
				got.Add(int64(bytes.Count(buf[:n], []byte{1})))
				if err != nil {
					return
				}
			}
		}()
	}
	return tn, got
}

// One message to 1,000 subscribers in memory, until all have it.
func BenchmarkPublish(b *testing.B) {
	for name, topics := range map[string][]string{"group": {"a.b"}, "pattern": {"a.*"}} {
		b.Run(name, func(b *testing.B) {
			const subscribers = 1000
			tn, got := crowded(b, subscribers, topics...)
			data := bytes.Repeat([]byte("a"), 75)
			want := got.Load()
			once := func() {
				if n, err := tn.s.Publish("a.b", "e", "", data); n != subscribers || err != nil {
					b.Fatal(n, err)
				}
				for want += subscribers; got.Load() < want; {
					runtime.Gosched()
				}
			}
			for range 20 {
				once()
			}
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*subscribers), "ns/delivery")
		})
	}
}

// A delivery costs no allocation, be it by name or by pattern.
func TestDeliveryAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, name := range []string{"a.b", "a.*"} {
		t.Run(name, func(t *testing.T) {
			const subscribers = 500
			tn, got := crowded(t, subscribers, name)
			want := got.Load()
			once := func() {
				tn.s.Publish("a.b", "e", "", "x")
				for want += subscribers; got.Load() < want; {
					runtime.Gosched()
				}
			}
			for range 100 {
				once()
			}
			if n := testing.AllocsPerRun(200, once); n > subscribers/10 {
				t.Errorf("%v allocations for %d deliveries", n, subscribers)
			}
		})
	}
}

// What a subscriber takes, its end of the connection included.
func BenchmarkSubscriber(b *testing.B) {
	tn := found(b, pubsub.Options{Heartbeat: -1})
	before := heap()
	for i := 0; b.Loop(); i++ {
		tn.bot().subscribes(fmt.Sprint("x", i%100))
	}
	b.ReportMetric(float64(heap()-before)/float64(b.N), "heap-B/subscriber")
}
