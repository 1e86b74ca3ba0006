package protocol_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// newTestOutbox returns an outbox, its connection, and the other end of that. kind is "mem", "tcp",
// "tls" or "pipe".
func newTestOutbox(t *testing.T, kind string, opts protocol.QueueOptions) (*protocol.Outbox, *transport.Conn, net.Conn) {
	t.Helper()
	var conn *transport.Conn
	var peer net.Conn
	if kind == "pipe" {
		a, b := net.Pipe()
		conn, peer = transport.NewConn(new(transport.Mem), a), b
	} else {
		conn, peer = connect(t, kind)
	}
	t.Cleanup(func() { conn.Abort(); peer.Close() })
	o, err := protocol.NewOutbox(conn, opts)
	if err != nil {
		t.Fatal(err)
	}
	return o, conn, peer
}

func connect(t *testing.T, kind string) (*transport.Conn, net.Conn) {
	t.Helper()
	var tr transport.Transport = new(transport.Mem)
	addr := "outbox"
	if kind != "mem" {
		addr = "127.0.0.1:0"
		tcp := transport.TCP{WriteBuffer: 4096}
		if tr = tcp; kind == "tls" {
			tr = secure(t, tcp)
		}
	}
	l, err := tr.Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conns := make(chan *transport.Conn, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			t.Error(err)
			close(conns)
			return
		}
		conn := transport.NewConn(tr, nc)
		if err := conn.Handshake(context.Background()); err != nil {
			t.Error(err)
		}
		conns <- conn
	}()
	peer, err := tr.Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return <-conns, peer
}

// Frames of several senders arrive complete, once, and in the order of each sender. Afterwards the
// outbox is empty.
func TestOutbox(t *testing.T) {
	for _, kind := range []string{"mem", "tcp", "tls", "pipe"} {
		for _, overflow := range []protocol.Overflow{protocol.CloseSlow, protocol.Block} {
			t.Run(kind+" "+string(overflow), func(t *testing.T) {
				opts := protocol.QueueOptions{MaxBytes: 64 << 20, Overflow: overflow, BlockTime: time.Minute}
				if overflow == protocol.Block {
					opts.MaxBytes = 20_000
				}
				var mu sync.Mutex
				high := 0 // the calls of OnHigh minus those of OnLow
				opts.HighWater, opts.LowWater = 10_000, 1000
				opts.OnHigh = func(*protocol.Outbox, int) { mu.Lock(); high++; mu.Unlock() }
				opts.OnLow = func(*protocol.Outbox, int) { mu.Lock(); high--; mu.Unlock() }
				o, conn, peer := newTestOutbox(t, kind, opts)
				const senders, frames = 4, 300
				got := make(chan error, 1)
				go func() { got <- receive(peer, senders, frames) }()
				var wg sync.WaitGroup
				for s := range senders {
					wg.Go(func() {
						for i := range frames {
							body := bytes.Repeat([]byte{byte(s)}, 6+i*7%3000)
							binary.BigEndian.PutUint32(body[1:], uint32(i))
							b, _ := protocol.LengthPrefix{}.Append(nil, body)
							if err := o.Send(b); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if err := o.Wait(context.Background()); err != nil || o.Queued() != 0 || o.Dropped() != 0 || engine.Of(conn).Unflushed() {
					t.Errorf("got %v, %d bytes queued, %d frames dropped, want none", err, o.Queued(), o.Dropped())
				}
				if err := <-got; err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if high != 0 {
					t.Errorf("got %d more calls of OnHigh than of OnLow, want as many", high)
				}
			})
		}
	}
}

func receive(r io.Reader, senders, frames int) error {
	next := make([]uint32, senders)
	head := make([]byte, 4)
	for range senders * frames {
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		b := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if i := binary.BigEndian.Uint32(b[1:]); i != next[b[0]] || b[len(b)-1] != b[0] {
			return fmt.Errorf("got frame %d of sender %d, want frame %d, complete", i, b[0], next[b[0]])
		}
		next[b[0]]++
	}
	return nil
}

// DropOldest drops whole frames, but none for a frame that would still not fit.
func TestDropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer := newTestOutbox(t, "pipe", protocol.QueueOptions{MaxBytes: 10, Overflow: protocol.DropOldest})
		for _, s := range []string{"aaaa", "bbbb", "cccc"} { // aaaa is being written
			if err := o.Send([]byte(s)); err != nil {
				t.Errorf("Send of %s: got %v, want no error", s, err)
			}
			synctest.Wait()
		}
		if err := o.Send([]byte("ddddddddddd")); err != protocol.ErrDropped {
			t.Errorf("Send of a frame that is too large: got %v, want %v", err, protocol.ErrDropped)
		}
		if o.Queued() != 8 || o.Dropped() != 2 {
			t.Errorf("got %d bytes queued and %d frames dropped, want 8 and 2", o.Queued(), o.Dropped())
		}
		got := make([]byte, 8)
		if io.ReadFull(peer, got); string(got) != "aaaacccc" {
			t.Errorf("got %q, want aaaacccc", got)
		}
		synctest.Wait()
	})
}

// Block waits for space, for at most BlockTime.
func TestBlockTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer := newTestOutbox(t, "pipe", protocol.QueueOptions{MaxBytes: 5, Overflow: protocol.Block, BlockTime: time.Minute})
		o.Send([]byte("aaaa"))
		begin := time.Now()
		if err := o.Send([]byte("bbbb")); err != protocol.ErrDropped || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %v, want %v after a minute", err, time.Since(begin), protocol.ErrDropped)
		}
		if o.Dropped() != 1 {
			t.Errorf("got %d frames dropped, want 1", o.Dropped())
		}
		time.AfterFunc(time.Second, func() { io.ReadFull(peer, make([]byte, 8)) })
		if err := o.Send([]byte("dddd")); err != nil {
			t.Errorf("Send while the peer reads: got %v, want no error", err)
		}
		synctest.Wait()
		if o.Queued() != 0 {
			t.Errorf("got %d bytes queued, want 0", o.Queued())
		}
	})
}

// A failed write of the goroutine that flushes makes reads fail with the same error.
func TestWriteErrorInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, conn, _ := newTestOutbox(t, "pipe", protocol.QueueOptions{})
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		if err := o.Send([]byte("hello")); err != nil {
			t.Error(err)
		}
		_, err := conn.Read(make([]byte, 1))
		if werr := o.Wait(context.Background()); err == nil || werr == nil || !errors.Is(err, werr) || !errors.Is(o.Send(nil), werr) {
			t.Errorf("got %v from Read and %v from Wait, want the error of the write", err, werr)
		}
	})
}

// Wait returns when its context ends.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _ := newTestOutbox(t, "pipe", protocol.QueueOptions{})
		o.Send([]byte("hello"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.Wait(ctx); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestOptionFaults(t *testing.T) {
	queue := protocol.QueueOptions{MaxBytes: -1, Overflow: "x", BlockTime: -1, HighWater: 1, LowWater: 2}
	if o, err := protocol.NewOutbox(nil, queue); err == nil || o != nil {
		t.Errorf("NewOutbox: got %v, %v, want an error", o, err)
	}
	got := protocol.Options{Queue: queue, Tick: -1, ReadTimeout: -1, Mailbox: -1, FullMailbox: protocol.Block}.Validate().Error()
	want := `option Tick -1ns: allowed are positive durations, and 0 for never
option ReadTimeout -1ns: allowed are positive durations, and 0 for no limit
option Mailbox -1: allowed are positive numbers, and 0 for 64
option FullMailbox block: allowed are CloseSlow, DropNewest, DropOldest, and "" for DropNewest
option Queue.MaxBytes -1: allowed are positive numbers, and 0 for 1 MiB
option Queue.Overflow x: allowed are CloseSlow, DropNewest, DropOldest, Block, and "" for CloseSlow
option Queue.BlockTime -1ns: allowed are positive durations, and 0 for 1s
option Queue.HighWater and Queue.LowWater 1 and 2: allowed are 0 and positive numbers, the second not greater than the first`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("faults: (-want +got)\n%s", d)
	}
}
