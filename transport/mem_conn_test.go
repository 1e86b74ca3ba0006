package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

const memBuffer = 64 << 10

// memWoken is the time and the outcome of the end of a blocked call.
type memWoken struct {
	After   time.Duration
	N       int
	Outcome string
}

const memForever = 24 * time.Hour // until the test closes the connection

var memWakeTable = []struct {
	name        string
	do          func(local, peer memSocket)
	read, write memWoken
}{
	{"deadline", func(local, _ memSocket) { local.SetDeadline(time.Now().Add(time.Second)) },
		memWoken{time.Second, 0, "read timeout"}, memWoken{time.Second, memBuffer, "write timeout"}},
	{"two deadlines", func(local, _ memSocket) {
		local.SetReadDeadline(time.Now().Add(2 * time.Second))
		local.SetWriteDeadline(time.Now().Add(time.Second))
	}, memWoken{2 * time.Second, 0, "read timeout"}, memWoken{time.Second, memBuffer, "write timeout"}},
	{"deadline that has passed", func(local, _ memSocket) { local.SetDeadline(time.Now().Add(-1)) },
		memWoken{0, 0, "read timeout"}, memWoken{0, memBuffer, "write timeout"}},
	{"deadline moved ahead", func(local, _ memSocket) {
		local.SetDeadline(time.Now().Add(10 * time.Second))
		time.Sleep(time.Second)
		local.SetDeadline(time.Now().Add(time.Second))
	}, memWoken{2 * time.Second, 0, "read timeout"}, memWoken{2 * time.Second, memBuffer, "write timeout"}},
	{"deadline put off", func(local, _ memSocket) {
		local.SetDeadline(time.Now().Add(2 * time.Second))
		time.Sleep(time.Second)
		local.SetDeadline(time.Now().Add(10 * time.Second))
	}, memWoken{11 * time.Second, 0, "read timeout"}, memWoken{11 * time.Second, memBuffer, "write timeout"}},
	{"deadline cleared", func(local, _ memSocket) {
		local.SetDeadline(time.Now().Add(time.Second))
		local.SetDeadline(time.Time{})
	}, memWoken{memForever, 0, "read closed"}, memWoken{memForever, memBuffer, "write closed"}},
	{"the peer's deadline", func(_, peer memSocket) { peer.SetDeadline(time.Now().Add(-1)) },
		memWoken{memForever, 0, "read closed"}, memWoken{memForever, memBuffer, "write closed"}},
	{"close", func(local, _ memSocket) { local.Close() },
		memWoken{0, 0, "read closed"}, memWoken{0, memBuffer, "write closed"}},
	{"the peer's close, unread", func(_, peer memSocket) { peer.Close() },
		memWoken{0, 0, "read ECONNRESET"}, memWoken{0, memBuffer, "write EPIPE"}},
	{"the peer's half-closes", func(_, peer memSocket) { peer.CloseWrite(); time.Sleep(time.Second); peer.CloseRead() },
		memWoken{0, 0, "EOF"}, memWoken{time.Second, memBuffer, "write EPIPE"}},
	{"our half-closes", func(local, _ memSocket) { local.CloseRead(); time.Sleep(time.Second); local.CloseWrite() },
		memWoken{0, 0, "EOF"}, memWoken{time.Second, memBuffer, "write EPIPE"}},
	{"data and room", func(_, peer memSocket) { peer.Write([]byte("abc")); peer.Read(make([]byte, 1)) },
		memWoken{0, 3, "ok"}, memWoken{0, memBuffer + 1, "ok"}},
	{"data, then close", func(local, peer memSocket) { peer.Write([]byte("abc")); local.Close() },
		memWoken{0, 3, "ok"}, memWoken{0, memBuffer, "write closed"}},
}

// A blocked Read, and a blocked Write of one byte more than the buffer has space for, end at the
// right time with the right count and error.
func TestMemConnEndsBlockedCalls(t *testing.T) {
	for _, test := range memWakeTable {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := memConns(t)
				defer server.Close()
				start := time.Now()
				read, write := make(chan memWoken, 1), make(chan memWoken, 1)
				go func() {
					n, err := client.Read(make([]byte, 9))
					read <- memWoken{time.Since(start), n, memOutcome(err)}
				}()
				go func() {
					n, err := client.Write(make([]byte, memBuffer+1))
					write <- memWoken{time.Since(start), n, memOutcome(err)}
				}()
				synctest.Wait() // until both are blocked
				test.do(client.(memSocket), server.(memSocket))
				synctest.Wait()
				time.Sleep(time.Until(start.Add(memForever)))
				client.Close()
				want, got := [2]memWoken{test.read, test.write}, [2]memWoken{<-read, <-write}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("read, write (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A timer that fires while its deadline is being replaced does not end the new one.
func TestMemConnStaleTimer(t *testing.T) {
	client, server := memConns(t)
	defer client.Close()
	defer server.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 20_000 {
		near := time.Now().Add(5 * time.Microsecond)
		server.SetReadDeadline(near)
		for time.Now().Before(near) { // in real time: the timer's goroutine races with this one
		}
		server.SetReadDeadline(time.Now().Add(time.Hour))
		runtime.Gosched()
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// A deadline that is set for each message works each time.
func TestMemConnDeadlineAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memConns(t)
		defer client.Close()
		defer server.Close()
		for i := range 5 {
			start := time.Now()
			server.SetReadDeadline(start.Add(time.Second))
			if i%2 == 1 {
				server.SetReadDeadline(start.Add(2 * time.Second))
			}
			_, err := server.Read(make([]byte, 1))
			if got, want := time.Since(start), time.Duration(1+i%2)*time.Second; got != want || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("round %d: got %v after %v, want a timeout after %v", i, err, got, want)
			}
		}
	})
}

// A blocked Write completes before the next one begins, however little space becomes free at a
// time.
func TestMemConnWritesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memConns(t)
		defer server.Close()
		first := bytes.Repeat([]byte("a"), memBuffer+5)
		var group sync.WaitGroup
		group.Go(func() { client.Write(first) })
		synctest.Wait() // until it is blocked
		for range 3 {
			group.Go(func() { client.Write([]byte("b")) })
		}
		var got []byte
		for buf := make([]byte, 1); len(got) < len(first)+3; {
			if len(got) < 10 {
				synctest.Wait() // until all writes that can proceed have done so
			}
			if _, err := server.Read(buf); err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[0])
		}
		group.Wait()
		if want := append(first, "bbb"...); !bytes.Equal(want, got) {
			t.Errorf("first Write: got %d bytes before the second, want %d", bytes.IndexByte(got, 'b'), len(first))
		}
		client.Close()
	})
}

// Concurrent writes that are larger than the buffer are not interleaved, whether their bytes are
// copied directly or through the buffer.
func TestMemConnWritesAreNotInterleaved(t *testing.T) {
	client, server := memConns(t)
	const writers, rounds, size = 4, 50, memBuffer + 4321
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			message := bytes.Repeat([]byte{byte('a' + i)}, size)
			for range rounds {
				if n, err := client.Write(message); n != size || err != nil {
					t.Errorf("got %d, %v, want all bytes", n, err)
				}
			}
		})
	}
	got := map[byte]int{}
	message := make([]byte, size)
	for range writers * rounds {
		if _, err := io.ReadFull(server, message); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(message, message[:1]) != size {
			t.Fatal("got interleaved writes, want each in one piece")
		}
		got[message[0]]++
	}
	group.Wait()
	if diff := cmp.Diff(map[byte]int{'a': rounds, 'b': rounds, 'c': rounds, 'd': rounds}, got); diff != "" {
		t.Errorf("messages per writer (-want +got):\n%s", diff)
	}
	client.Close()
	server.Close()
}

// Each byte is read once, whether it is copied into the slice of a waiting Read or through the
// buffer, which wraps, grows or is full.
func TestMemConnOrder(t *testing.T) {
	client, server := memConns(t)
	defer server.Close()
	const total = 4 << 20
	go func() {
		defer client.Close()
		buf := make([]byte, 3*memBuffer)
		for sent, size := 0, 1; sent < total; size = (size*5 + 3) % len(buf) {
			chunk := buf[:min(size, total-sent)]
			for i := range chunk {
				chunk[i] = memByte(sent + i)
			}
			n, err := client.Write(chunk)
			if err != nil {
				t.Error(err)
				return
			}
			sent += n
		}
	}()
	read, buf := 0, make([]byte, 2*memBuffer)
	for size := 1; ; size = (size*7 + 11) % len(buf) {
		n, err := server.Read(buf[:size+1])
		for i, b := range buf[:n] {
			if b != memByte(read+i) {
				t.Fatalf("byte %d: got %d, want %d", read+i, b, memByte(read+i))
			}
		}
		read += n
		if err != nil {
			if err != io.EOF || read != total {
				t.Fatalf("got %v after %d bytes, want %d bytes", err, read, total)
			}
			return
		}
	}
}

func memByte(at int) byte { return byte(at ^ at>>8 ^ at>>16) }

// After Read has returned, its slice is not written to, and later data is not lost.
func TestMemConnReadReleasesSlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memConns(t)
		defer client.Close()
		defer server.Close()
		first, second := make([]byte, 3), make([]byte, 3)
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Read(first)
		}()
		synctest.Wait() // until Read is blocked
		client.Write([]byte("1"))
		<-done
		client.Write([]byte("2"))
		server.Read(second)
		if diff := cmp.Diff([]string{"1\x00\x00", "2\x00\x00"}, []string{string(first), string(second)}); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Concurrent readers share the data, and all receive the end.
func TestMemConnReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memConns(t)
		defer server.Close()
		var group sync.WaitGroup
		var mu sync.Mutex
		total := 0
		for range 3 {
			group.Go(func() {
				for buf := make([]byte, 10); ; {
					n, err := server.Read(buf)
					mu.Lock()
					total += n
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		synctest.Wait()
		for range 100 {
			if _, err := client.Write(make([]byte, 25)); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		group.Wait()
		if total != 2500 {
			t.Errorf("got %d bytes, want 2500", total)
		}
	})
}

func TestMemConnAllocations(t *testing.T) {
	client, server := memConns(t)
	defer client.Close()
	defer server.Close()
	message := make([]byte, 64)
	// AllocsPerRun rounds down, which tolerates the values that pools drop under the race detector.
	if got := testing.AllocsPerRun(1000, func() {
		server.SetReadDeadline(time.Now().Add(time.Hour))
		client.Write(message)
		server.Read(message)
	}); got != 0 {
		t.Errorf("got %v allocations for each message, want 0", got)
	}
}

// An idle connection is as small as a new one, and a closed connection leaves nothing allocated,
// not even timers.
func TestMemConnMemory(t *testing.T) {
	var m transport.Mem
	l, err := m.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const ends = 10_000
	conns := make([]net.Conn, 0, ends)
	message := make([]byte, memBuffer)
	before := memHeap()
	perEnd := func() int64 { return int64(memHeap()-before) / ends }
	for range ends / 2 {
		client, server := memConnect(t, &m, l)
		conns = append(conns, client, server)
		for _, c := range [2][2]net.Conn{{client, server}, {server, client}} {
			if _, err := c[0].Write(message); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c[1], message); err != nil {
				t.Fatal(err)
			}
		}
	}
	idle := perEnd()
	for _, conn := range conns {
		conn.SetDeadline(time.Now().Add(time.Hour))
	}
	timed := perEnd()
	for i, conn := range conns {
		conn.Close()
		conns[i] = nil
	}
	// The runtime frees a stopped timer when its P schedules next. The first collection causes
	// that, and the second one frees the memory.
	closed := perEnd()
	for range 20 {
		if closed <= 100 {
			break
		}
		closed = perEnd()
	}
	t.Logf("bytes for each end: idle %d, with two deadlines %d, closed %d", idle, timed, closed)
	if idle > 400 || closed > 100 {
		t.Error("got more memory than that, want at most 400 bytes when idle and 100 when closed")
	}
}
