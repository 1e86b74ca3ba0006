//go:build !race

// Under the race detector, sync.Pool drops values at random and memory use differs.

package transport_test

import (
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// wantNoAllocs counts the allocations of the whole process, those of the other end included.
func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	for range 10 { // fills pools and grows stacks
		f()
	}
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%s: got %v allocations, want 0", what, n)
	}
}

func TestReadAndWriteDoNotAllocate(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		p := make([]byte, 64)
		wantNoAllocs(t, name+": Write", func() {
			if _, err := srv.Write(p); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(cli, p); err != nil {
				t.Fatal(err)
			}
		})
		wantNoAllocs(t, name+": Read", func() {
			if _, err := cli.Write(p); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(srv, p); err != nil {
				t.Fatal(err)
			}
		})
		wantNoAllocs(t, name+": Stats", func() {
			if s := srv.Stats(); s.Reads == 0 || srv.ID() == 0 {
				t.Fatal(s)
			}
		})
	}
}

func TestTryWriteDoesNotAllocate(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	p, b := make([]byte, 64), make([]byte, 64)
	wantNoAllocs(t, "TryWrite", func() {
		engine.Of(conn).TryWrite(p)
		io.ReadFull(peer, b)
	})
}

// A write that has to wait arms a timer and allocates nothing else.
func TestBlockedWriteDoesNotAllocate(t *testing.T) {
	srv, cli := kindNamed("unix").pair(t, transport.TCP{WriteBuffer: 4096})
	const size = 64 << 10
	p := make([]byte, size)
	start := make(chan struct{})
	defer close(start)
	go func() {
		for range start {
			srv.Write(p)
		}
	}()
	q := make([]byte, size)
	wantNoAllocs(t, "a write that waits", func() {
		start <- struct{}{}
		if _, err := io.ReadFull(cli, q); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEchoDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		echo := async(func() (int64, error) { return srv.WriteTo(srv) })
		for _, size := range []int{1, 64, 16_000} {
			wantNoAllocs(t, name+": echo", echoes(t, cli, size))
		}
		cli.Close()
		await(t, "the echo", echo)
	}
}

// crypto/tls allocates for each record that it reads. WriteTo adds no allocation.
func TestTLSEchoAllocatesNoMoreThanBare(t *testing.T) {
	for _, size := range []int{2, 64, 16_000} {
		measure := func(echo func(*transport.Conn) (int64, error)) float64 {
			srv, cli := kindNamed("tls1.3").pair(t, transport.TCP{})
			echoing := async(func() (int64, error) { return echo(srv) })
			once := echoes(t, cli, size)
			for range 10 {
				once()
			}
			n := testing.AllocsPerRun(1000, once)
			cli.Close()
			await(t, "the echo", echoing)
			return n
		}
		ours := measure(func(c *transport.Conn) (int64, error) { return c.WriteTo(c) })
		bare := measure(func(c *transport.Conn) (int64, error) {
			for p := make([]byte, 32<<10); ; {
				n, err := c.Read(p)
				if err != nil {
					return 0, err
				}
				c.Write(p[:n])
			}
		})
		if ours > bare {
			t.Errorf("%d bytes: got %v allocations, want at most %v as with a bare connection", size, ours, bare)
		}
	}
}

// An idle connection in WriteTo holds no buffer: it uses as much memory as a goroutine in a bare
// Read with a buffer of one byte, and a little for the Conn. With a buffer of 4 KiB, on the heap or
// on the stack, this test fails.
func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		conns int
		bound int64 // bytes more than the bare goroutine
	}{
		{"tcp", 2000, 1500},
		{"tls1.3", 1000, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conns := tt.conns
			if need := 2*conns + 100; filesAllowed() < need {
				t.Skipf("needs %d file descriptors, which the limit does not allow", need)
			}
			tr := kindNamed(tt.name).make(transport.TCP{})
			ln := listen(t, tr, "127.0.0.1:0")
			srvs, clis := make([]*transport.Conn, conns), make([]net.Conn, conns)
			for i := range conns {
				srvs[i], clis[i] = connectTo(t, tr, ln)
			}
			measure := func(serve func(*transport.Conn)) int64 { return bytesPerConn(t, srvs, clis, serve) }
			measure(echoBare) // allocates what is allocated only once
			bare := measure(echoBare)
			got := measure(func(c *transport.Conn) { c.WriteTo(&untilEnd{c}) })
			t.Logf("per idle connection: bare %d bytes, WriteTo %d", bare, got)
			if got-bare > tt.bound {
				t.Errorf("got %d bytes per idle connection in WriteTo, want at most those of a bare Read (%d) and %d more", got, bare, tt.bound)
			}
		})
	}
}

// bytesPerConn returns the memory that serve uses for each connection while all are idle.
func bytesPerConn(t *testing.T, srvs []*transport.Conn, clis []net.Conn, serve func(*transport.Conn)) int64 {
	var wg sync.WaitGroup
	before := inUse()
	for _, c := range srvs {
		wg.Go(func() { serve(c) })
	}
	p := make([]byte, 100)
	for _, c := range clis { // each connection transfers data before it is idle
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "all goroutines to be blocked", func() bool { return runnable() == 1 })
	after := inUse()
	for _, c := range clis { // the byte that ends the goroutine
		c.Write([]byte{end})
	}
	wg.Wait()
	return (after - before) / int64(len(srvs))
}

// echoBare echoes messages of 100 bytes with a buffer of one byte.
func echoBare(c *transport.Conn) {
	one := new([1]byte)
	for n := 0; ; n++ {
		if _, err := c.Read(one[:]); err != nil || one[0] == end {
			return
		}
		if n%100 == 99 {
			c.Write(make([]byte, 100))
		}
	}
}

// untilEnd echoes all data until it receives the end.
type untilEnd struct{ io.Writer }

const end = 0xff

func (u *untilEnd) Write(p []byte) (int, error) {
	if p[len(p)-1] == end {
		return 0, io.ErrClosedPipe
	}
	return u.Writer.Write(p)
}

// inUse returns the bytes of heap and stacks that are in use.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 { // the second collection empties pools; each shrinks stacks
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// runnable returns the number of goroutines that are running or runnable, the caller included.
func runnable() (n uint64) {
	samples := []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}, {Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(samples)
	for _, s := range samples {
		n += s.Value.Uint64()
	}
	return n
}
