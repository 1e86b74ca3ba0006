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

	"goranch/internal/engine"
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
	if !engine.Of(conn).CanTryWrite() {
		t.Fatal("it cannot be tried")
	}
	var sent []byte
	full := 0
	for i := range 2000 { // the peer reads nothing yet
		p := bytes.Repeat([]byte{byte(i)}, 1+rand.IntN(10_000))
		n, err := engine.Of(conn).TryWrite(p)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p[:n]...)
		if n < len(p) || engine.Of(conn).Unflushed() {
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
	if err := engine.Of(conn).Flush(); err != nil || engine.Of(conn).Unflushed() {
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
	for !engine.Of(conn).Unflushed() {
		p := bytes.Repeat([]byte{byte(len(want))}, 5000)
		n, err := engine.Of(conn).TryWrite(p)
		if n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		want = append(want, p...)
	}
	if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil {
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
			_, err = engine.Of(conn).TryWrite([]byte("x"))
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}

// Connections without system calls of ours take nothing, and say so.
func TestTryWriteCannot(t *testing.T) {
	conn, _ := pipe(t, transport.TCP{})
	if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil || engine.Of(conn).CanTryWrite() || engine.Of(conn).Unflushed() || engine.Of(conn).Flush() != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTryWriteDoesNotAllocate(t *testing.T) {
	conn, peer := kindNamed("tcp").pair(t, transport.TCP{})
	p, b := make([]byte, 64), make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		engine.Of(conn).TryWrite(p)
		io.ReadFull(peer, b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A Flush that fails at a deadline loses nothing: the rest of the record follows later.
func TestFlushAfterADeadline(t *testing.T) {
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{WriteBuffer: 4096})
	var want []byte
	for !engine.Of(conn).Unflushed() {
		p := bytes.Repeat([]byte{byte(len(want))}, 5000)
		if n, err := engine.Of(conn).TryWrite(p); n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		want = append(want, p...)
	}
	conn.SetWriteDeadline(time.Unix(1, 0))
	if err := engine.Of(conn).Flush(); !errors.Is(err, os.ErrDeadlineExceeded) || !engine.Of(conn).Unflushed() {
		t.Fatalf("Flush: %v, unsent: %v", err, engine.Of(conn).Unflushed())
	}
	conn.SetWriteDeadline(time.Time{})
	go func() {
		if err := engine.Of(conn).Flush(); err != nil {
			t.Error(err)
		}
		conn.Close()
	}()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// While a Write waits for the peer TryWrite takes nothing, and keeps none of what that Write
// has still to send.
func TestTryWriteDuringAWrite(t *testing.T) {
	for _, name := range []string{"tcp", "tls1.3"} {
		conn, peer := kindNamed(name).pair(t, transport.TCP{WriteBuffer: 4096})
		done := make(chan error, 1)
		big := make([]byte, 1<<20) // more than the sockets take
		go func() {
			_, err := conn.Write(big)
			done <- err
		}()
		if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil { // it has begun
			t.Fatal(err)
		}
		for range 100 {
			if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
		}
		if len(done) != 0 {
			t.Errorf("%s: the write is over, and nobody has read", name)
		}
		if _, err := io.ReadFull(peer, make([]byte, len(big)-1)); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || engine.Of(conn).Unflushed() {
			t.Errorf("%s: %v, unsent %v", name, err, engine.Of(conn).Unflushed())
		}
	}
}
