package pubsub_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/transport"
)

// memoryInUse returns the memory of heap and stacks after a collection, in bytes.
func memoryInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// subscribeAll subscribes to all names in batches; it returns false when the server refuses.
func (c *testClient) subscribeAll(names []string) (acks int) {
	for len(names) > 0 {
		n := min(100, len(names))
		var b strings.Builder
		for _, name := range names[:n] {
			fmt.Fprintf(&b, "{\"action\":\"subscribe\",\"data\":%q}\x00", name)
		}
		if _, err := io.WriteString(c.nc, b.String()); err != nil {
			return acks
		}
		for range n {
			if c.frame() != "ACK" {
				return acks
			}
			acks++
		}
		names = names[n:]
	}
	return acks
}

// namesOf returns n names made from a format with one %d.
func namesOf(format string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}

// sharedTails returns n patterns that match all tokens but the last of the topic of the second
// result.
func sharedTails(n int) (patterns []string, topic string) {
	const depth, tail = 10, 100
	for i := range n {
		var b strings.Builder
		for bit := range depth {
			if i>>bit&1 == 1 {
				b.WriteString("*.")
			} else {
				b.WriteString("a.")
			}
		}
		patterns = append(patterns, b.String()+strings.Repeat("x.", tail)+"*.no")
	}
	return patterns, strings.Repeat("a.", depth) + strings.Repeat("x.", tail) + "x.yes"
}

// BenchmarkHostilePatterns publishes to a topic that 1,000 patterns match up to their last token.
func BenchmarkHostilePatterns(b *testing.B) {
	srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
	patterns, topic := sharedTails(1000)
	b.ReportMetric(float64(srv.client().subscribeAll(patterns)), "patterns")
	for b.Loop() {
		if _, err := srv.Publish(topic, "e", "", 1); err != nil {
			b.Fatalf("Publish: got %v, want no error", err)
		}
	}
}

// BenchmarkHostileSubscribe subscribes and unsubscribes a pattern in a session with 999 names that
// look like patterns.
func BenchmarkHostileSubscribe(b *testing.B) {
	srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1, RequestRate: -1}, transport.TCP{}, "127.0.0.1:0")
	c := srv.client()
	c.subscribeAll(namesOf("a*b.c>d.%d", 999))
	n := 0
	for b.Loop() {
		n++
		c.write("{\"action\":\"subscribe\",\"data\":\"a.*\"}\x00{\"action\":\"unsubscribe\",\"data\":\"a.*\"}\x00")
		if f := c.frame(); f != "ACK" {
			b.Skipf("refused after %d requests: %s", 2*n, f)
		}
	}
}

// BenchmarkHostileJSON publishes data that is nested as deeply as encoding/json accepts.
func BenchmarkHostileJSON(b *testing.B) {
	srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	data := "[" + strings.Repeat(deep+",", 13) + deep + "]"
	frame := `{"action":"publish","data":{"topic":"x","data":` + data + "}}\x00"
	b.SetBytes(int64(len(frame)))
	c := srv.client()
	for b.Loop() {
		if io.WriteString(c.nc, frame); !strings.HasPrefix(c.frame(), `{"published"`) {
			c.nc.Close()
			c = srv.client()
		}
	}
}

// BenchmarkHostileFrames sends as many frames as the server takes in 3 s.
func BenchmarkHostileFrames(b *testing.B) {
	for name, frame := range map[string]string{"NUL": "\x00", "PING": "PING\x00", "presence": "{\"action\":\"presence\",\"data\":\"x\"}\x00"} {
		b.Run(name, func(b *testing.B) {
			srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
			c := srv.client()
			go io.Copy(io.Discard, c.nc)
			batch := strings.Repeat(frame, 60_000/len(frame))
			frames, start := 0, time.Now()
			for b.Loop() {
			}
			for time.Since(start) < 3*time.Second {
				n, err := io.WriteString(c.nc, batch)
				frames += n / len(frame)
				if err != nil {
					break
				}
			}
			b.ReportMetric(float64(frames), "frames")
			b.ReportMetric(time.Since(start).Seconds(), "s")
		})
	}
}

// BenchmarkHostileTopics publishes to 200,000 different topics.
func BenchmarkHostileTopics(b *testing.B) {
	for b.Loop() {
		srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
		before := memoryInUse()
		const count = 200_000
		for i := range count {
			srv.Publish(fmt.Sprint("topic.", i), "e", "", i)
		}
		b.ReportMetric(float64(srv.Stats().Topics), "topics")
		b.ReportMetric(float64(memoryInUse()-before)/count, "B/publish")
		b.ReportMetric(float64(memoryInUse()-before)/(1<<20), "MiB")
	}
}

// BenchmarkHostileSessions leaves 100 sessions with 1,000 subscriptions each.
func BenchmarkHostileSessions(b *testing.B) {
	for b.Loop() {
		srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
		before := memoryInUse()
		subscriptions, start := 0, time.Now()
		for i := range 100 {
			c := srv.client()
			subscriptions += c.subscribeAll(namesOf(fmt.Sprint("s", i, ".%d"), 1000))
			c.nc.Close()
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(subscriptions), "ns/subscribe")
		for srv.Stats().Clients > 0 {
			time.Sleep(time.Millisecond)
		}
		b.ReportMetric(float64(memoryInUse()-before)/float64(subscriptions), "B/subscription")
		b.ReportMetric(float64(srv.Stats().Topics), "topics")
		b.ReportMetric(float64(memoryInUse()-before)/(1<<20), "MiB")
	}
}

// BenchmarkHostileHalfFrames keeps 100 connections with a frame whose end does not arrive.
func BenchmarkHostileHalfFrames(b *testing.B) {
	for _, size := range []int{100, 5000, 70_000, 250_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for b.Loop() {
				srv := newTestServerOn(b, pubsub.Options{Heartbeat: -1}, transport.TCP{}, "127.0.0.1:0")
				const count = 100
				before := memoryInUse()
				var all []net.Conn
				half := strings.Repeat("a", size)
				for range count {
					c := srv.client()
					io.WriteString(c.nc, `{"action":"`+half)
					all = append(all, c.nc)
				}
				time.Sleep(300 * time.Millisecond)
				b.ReportMetric(float64(memoryInUse()-before)/count, "B/conn")
				b.ReportMetric(float64(srv.Stats().Clients), "clients")
				for _, nc := range all {
					nc.Close()
				}
			}
		})
	}
}
