package transport_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// What TryWrite takes arrives in order, whatever mixes with it; it never waits for a peer
// that takes nothing; and nothing is lost in between.
func TestTryWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		checkTryWrite(t, func(t *testing.T) (*transport.Conn, io.ReadCloser) {
			conn, peer := k.pair(t, transport.TCP{WriteBuffer: 4096})
			return conn, peer
		})
	})
	t.Run("mem", func(t *testing.T) {
		checkTryWrite(t, func(t *testing.T) (*transport.Conn, io.ReadCloser) {
			conn, peer := connect(t, new(transport.Mem), "try")
			return conn, peer
		})
	})
}

func checkTryWrite(t *testing.T, pair func(*testing.T) (*transport.Conn, io.ReadCloser)) {
	conn, peer := pair(t)
	if !conn.CanTry() {
		t.Fatal("it cannot be tried")
	}
	var sent []byte
	full := 0
	for i := range 2000 { // the peer reads nothing yet
		p := bytes.Repeat([]byte{byte(i)}, 1+rand.IntN(10_000))
		n, err := conn.TryWrite(p)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p[:n]...)
		if n < len(p) || conn.Unsent() {
			if full++; full == 10 {
				break
			}
		}
	}
	if full < 10 {
		t.Fatal("it always takes everything")
	}
	got := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(peer)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	if err := conn.Flush(); err != nil || conn.Unsent() {
		t.Fatalf("Flush: %v", err)
	}
	if _, err := conn.Write([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if want := append(sent, "the end"...); !bytes.Equal(<-got, want) {
		t.Error("something else has arrived")
	}
	if n := conn.Stats().BytesWritten; n != uint64(len(sent))+7 {
		t.Errorf("%d bytes counted, %d sent", n, len(sent)+7)
	}
}

// A Write sends what was kept before its own.
func TestWriteAfterTryWrite(t *testing.T) {
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{WriteBuffer: 4096})
	var want []byte
	for !conn.Unsent() {
		p := bytes.Repeat([]byte{byte(len(want))}, 5000)
		n, err := conn.TryWrite(p)
		if n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		want = append(want, p...)
	}
	if n, err := conn.TryWrite([]byte("x")); n != 0 || err != nil {
		t.Errorf("it takes more: %d, %v", n, err)
	}
	go func() {
		conn.Write([]byte("y"))
		conn.Close()
	}()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, append(want, 'y')) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want)+1, err)
	}
}

func TestTryWriteFails(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		conn, peer := k.pair(t, transport.TCP{})
		peer.Close()
		var err error
		for err == nil {
			_, err = conn.TryWrite([]byte("x"))
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}

// Connections without system calls of ours take nothing, and say so.
func TestTryWriteCannot(t *testing.T) {
	conn, _ := pipe(t, transport.TCP{})
	if n, err := conn.TryWrite([]byte("x")); n != 0 || err != nil || conn.CanTry() || conn.Unsent() || conn.Flush() != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTryWriteDoesNotAllocate(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	p, b := make([]byte, 64), make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		conn.TryWrite(p)
		io.ReadFull(peer, b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A Flush that a deadline cuts short goes on where it was: no part of a record is lost.
func TestFlushAfterDeadline(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		conn, peer := k.pair(t, transport.TCP{WriteBuffer: 4096})
		var sent []byte
		err := error(nil)
		for i := 0; err == nil && i < 10_000; i++ {
			p := bytes.Repeat([]byte{byte(i)}, 16_000)
			n, terr := conn.TryWrite(p)
			if terr != nil {
				t.Fatal(terr)
			}
			if sent = append(sent, p[:n]...); n < len(p) {
				return // it keeps nothing
			}
			if conn.Unsent() {
				conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				err = conn.Flush() // nil: the kernel has made room
				conn.SetWriteDeadline(time.Time{})
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !conn.Unsent() {
			t.Fatalf("%v, unsent: %v", err, conn.Unsent())
		}
		go func() {
			if err := conn.Flush(); err != nil || conn.Unsent() {
				t.Errorf("%v, unsent: %v", err, conn.Unsent())
			}
			conn.Close()
		}()
		if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
		}
	})
}
