package ranch_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// BenchmarkLive shows that the cost of a connection does not depend on the number of live ones.
func BenchmarkLive(b *testing.B) {
	for _, live := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(live), func(b *testing.B) { benchmarkLive(b, live) })
	}
}

func benchmarkLive(b *testing.B, live int) {
	ctx := context.Background()
	mem := new(transport.Mem)
	once := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		var p [1]byte
		if _, err := conn.Read(p[:]); err != nil || p[0] == 'x' {
			return err
		}
		_, err := conn.Read(p[:]) // until the client closes
		return err
	})
	l, err := ranch.NewListener("live", mem, ranch.Options{Addr: "live", MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler)}, once)
	if err != nil {
		b.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- l.Run(run) }()
	for l.Addr() == nil {
		runtime.Gosched()
	}
	visit := func(what string) io.Closer {
		nc, err := mem.Dial(ctx, "live")
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(nc, what)
		return nc
	}
	for range live {
		visit("s")
	}
	if err := l.WaitForConnections(ctx, ranch.Equal, live); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	b.ReportAllocs()
	var p [1]byte
	for b.Loop() {
		nc := visit("x").(io.ReadCloser)
		nc.Read(p[:]) // until EOF
		nc.Close()
	}
	b.StopTimer()
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
