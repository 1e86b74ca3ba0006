//go:build unix

package adminhttp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// BenchmarkViewer measures what one second of a dashboard costs the server with 10,000 connections:
// an event with the state of the listeners, and each two seconds a page of the table and the
// summary. One percent of a core is 10 ms per operation. The clients are in the same process, so
// their part counts too.
func BenchmarkViewer(b *testing.B) {
	server, mem := new(ranch.Server), new(transport.Mem)
	h, err := adminhttp.New(adminhttp.Options{Server: server, Commands: admin.Commands(admin.Options{Server: server}), Interval: time.Hour, Logger: discardLogger})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close(context.Background())
	defer server.Drain(context.Background())
	idle := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	const connections = 10_000
	for name, p := range map[string]protocol.Protocol{"idle": idle, "http": h} {
		if _, err := server.StartListener(name, mem, ranch.Options{Addr: name, Logger: discardLogger, MaxConnections: ranch.Unlimited, ShutdownTimeout: time.Second}, p); err != nil {
			b.Fatal(err)
		}
	}
	for range connections {
		nc, err := mem.Dial(b.Context(), "idle")
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
	}
	l, _ := server.Listener("idle")
	waitFor(b, "all connections", func() bool { return l.Info().AllConnections == connections })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return mem.Dial(ctx, "http") }}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	get := func(path string) {
		resp, err := client.Get("http://localhost" + path)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 || n == 0 {
			b.Fatalf("%s: got %d bytes with status %d and error %v, want an answer", path, n, resp.StatusCode, err)
		}
		resp.Body.Close()
	}
	for name, query := range map[string]string{"all": "/connections?limit=50", "sorted": "/connections?limit=50&sort=read", "filtered": "/connections?limit=50&filter=idle%3E%3D0s+listener%3Didle"} {
		b.Run(name, func(b *testing.B) {
			sample, before := adminhttp.NewSampler(h), cpuTime(b)
			for n := 0; b.Loop(); n++ {
				sample()
				if n%2 == 0 {
					get(query)
					get("/status")
				}
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)*100, "%core")
		})
	}
}

// cpuTime returns the CPU time of the process, which other processes do not affect.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
