package transport_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"goranch/transport"
)

func BenchmarkMemEcho(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			client, server := memConns(b)
			go memEcho(server)
			defer client.Close()
			message := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(2 * size))
			for b.Loop() {
				memRoundTrip(b, client, message)
			}
		})
	}
}

// Connections share nothing, so the time of a round trip must not grow with their number.
func BenchmarkMemEchoParallel(b *testing.B) {
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		client, server := memConns(b)
		go memEcho(server)
		defer client.Close()
		message := make([]byte, 64)
		for pb.Next() {
			memRoundTrip(b, client, message)
		}
	})
}

func BenchmarkMemStream(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			client, server := memConns(b)
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				_, _ = io.Copy(io.Discard, server)
			}()
			message := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := client.Write(message); err != nil {
					b.Fatal(err)
				}
			}
			client.Close()
			<-drained
			server.Close()
		})
	}
}

// BenchmarkMemDial measures the life of one connection while others stay open.
func BenchmarkMemDial(b *testing.B) {
	for _, live := range []int{0, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			var m transport.Mem
			listener, err := m.Listen(b.Context(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			conns := make([]net.Conn, 0, live) // one end keeps both ends alive
			before := memHeap()
			for range live {
				client, _ := memConnect(b, &m, listener)
				conns = append(conns, client)
			}
			perPair := float64(memHeap()-before) / float64(max(live, 1))
			b.ReportAllocs()
			for b.Loop() {
				client, server := memConnect(b, &m, listener)
				client.Close()
				server.Close()
			}
			b.ReportMetric(perPair, "B/live")
			runtime.KeepAlive(conns)
		})
	}
}

func memHeap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func memEcho(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

func memRoundTrip(tb testing.TB, conn net.Conn, message []byte) {
	if _, err := conn.Write(message); err != nil {
		tb.Error(err)
	}
	if _, err := io.ReadFull(conn, message); err != nil {
		tb.Error(err)
	}
}
