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

// Data taken by TryWrite arrives in order with that of Write. TryWrite never waits for a peer that
// does not read, and no data is lost.
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
		t.Fatal("CanTryWrite: got false, want true")
	}
	var sent []byte
	full := 0
	for i := range 2000 { // the peer does not read yet
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
		t.Fatal("got all data taken, want a full socket")
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
		t.Fatalf("Flush: got %v, want no error and nothing left", err)
	}
	if _, err := conn.Write([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if want := append(sent, "the end"...); !bytes.Equal(<-got, want) {
		t.Error("peer: got other data, want the data taken")
	}
	if n := conn.Stats().BytesWritten; n != uint64(len(sent))+7 {
		t.Errorf("got %d bytes counted, want %d", n, len(sent)+7)
	}
}

// Write sends the kept part of a record before its own data.
func TestWriteAfterTryWrite(t *testing.T) {
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{WriteBuffer: 4096})
	var want []byte
	for !engine.Of(conn).Unflushed() {
		p := bytes.Repeat([]byte{byte(len(want))}, 5000)
		n, err := engine.Of(conn).TryWrite(p)
		if n != len(p) || err != nil {
			t.Fatalf("TryWrite: got %d, %v, want all bytes", n, err)
		}
		want = append(want, p...)
	}
	if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil {
		t.Errorf("TryWrite with a kept part: got %d, %v, want 0", n, err)
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
			t.Errorf("got %v, want EPIPE or ECONNRESET", err)
		}
	})
}

// On connections without system calls of this package, TryWrite takes nothing.
func TestTryWriteUnsupported(t *testing.T) {
	conn, _ := pipe(t, transport.TCP{})
	if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil || engine.Of(conn).CanTryWrite() || engine.Of(conn).Unflushed() || engine.Of(conn).Flush() != nil {
		t.Errorf("TryWrite: got %d, %v, want 0 and CanTryWrite, Unflushed, Flush to do nothing", n, err)
	}
}

// After a Flush that fails at a deadline, a later Flush sends the rest of the record.
func TestFlushAfterDeadline(t *testing.T) {
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{WriteBuffer: 4096})
	var want []byte
	for !engine.Of(conn).Unflushed() {
		p := bytes.Repeat([]byte{byte(len(want))}, 5000)
		if n, err := engine.Of(conn).TryWrite(p); n != len(p) || err != nil {
			t.Fatalf("TryWrite: got %d, %v, want all bytes", n, err)
		}
		want = append(want, p...)
	}
	conn.SetWriteDeadline(time.Unix(1, 0))
	if err := engine.Of(conn).Flush(); !errors.Is(err, os.ErrDeadlineExceeded) || !engine.Of(conn).Unflushed() {
		t.Fatalf("Flush: got %v, Unflushed %v, want ErrDeadlineExceeded and true", err, engine.Of(conn).Unflushed())
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

// While a Write is blocked, TryWrite takes nothing, and does not affect the data of that Write.
func TestTryWriteDuringWrite(t *testing.T) {
	for _, name := range []string{"tcp", "tls1.3"} {
		conn, peer := kindNamed(name).pair(t, transport.TCP{WriteBuffer: 4096})
		done := make(chan error, 1)
		big := make([]byte, 1<<20) // more than the sockets take
		go func() {
			_, err := conn.Write(big)
			done <- err
		}()
		if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil { // the write has begun
			t.Fatal(err)
		}
		for range 100 {
			if n, err := engine.Of(conn).TryWrite([]byte("x")); n != 0 || err != nil {
				t.Fatalf("%s: TryWrite: got %d, %v, want 0", name, n, err)
			}
		}
		if len(done) != 0 {
			t.Errorf("%s: got a completed write before the peer has read, want a blocked one", name)
		}
		if _, err := io.ReadFull(peer, make([]byte, len(big)-1)); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || engine.Of(conn).Unflushed() {
			t.Errorf("%s: got %v, Unflushed %v, want no error and false", name, err, engine.Of(conn).Unflushed())
		}
	}
}
