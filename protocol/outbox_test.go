package protocol_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// outbox returns one, with the far end of its connection: "mem", "tcp", "tls" or "pipe".
func outbox(t *testing.T, kind string, opts protocol.QueueOptions) (*protocol.Outbox, *transport.Conn, net.Conn) {
	t.Helper()
	var conn *transport.Conn
	var peer net.Conn
	if kind == "pipe" {
		a, b := net.Pipe()
		conn, peer = transport.NewConn(new(transport.Mem), a), b
	} else {
		conn, peer = connected(t, kind)
	}
	t.Cleanup(func() { conn.Abort(); peer.Close() })
	o, err := protocol.NewOutbox(conn, opts)
	if err != nil {
		t.Fatal(err)
	}
	return o, conn, peer
}

func connected(t *testing.T, kind string) (*transport.Conn, net.Conn) {
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

// What many send at once arrives whole, once, and in the order of each, whatever it goes over; then
// nothing waits.
func TestOutbox(t *testing.T) {
	for _, kind := range []string{"mem", "tcp", "tls", "pipe"} {
		for _, overflow := range []protocol.Overflow{protocol.CloseSlow, protocol.Block} {
			t.Run(kind+" "+overflow.String(), func(t *testing.T) {
				opts := protocol.QueueOptions{MaxBytes: 64 << 20, Overflow: overflow, BlockTime: time.Minute}
				if overflow == protocol.Block {
					opts.MaxBytes = 20_000
				}
				var mu sync.Mutex
				marks := 0 // OnHigh less OnLow
				opts.HighWater, opts.LowWater = 10_000, 1000
				opts.OnHigh = func(*protocol.Outbox, int) { mu.Lock(); marks++; mu.Unlock() }
				opts.OnLow = func(*protocol.Outbox, int) { mu.Lock(); marks--; mu.Unlock() }
				o, conn, peer := outbox(t, kind, opts)
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
					t.Errorf("%v, %d wait, %d dropped", err, o.Queued(), o.Dropped())
				}
				if err := <-got; err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if marks != 0 {
					t.Errorf("%d more often high than low", marks)
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
			return errors.New("out of order, or mixed")
		}
		next[b[0]]++
	}
	return nil
}

// DropOldest drops whole frames that wait, never for one that has no room whatever is dropped.
func TestDropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer := outbox(t, "pipe", protocol.QueueOptions{MaxBytes: 10, Overflow: protocol.DropOldest})
		for _, s := range []string{"aaaa", "bbbb", "cccc"} { // aaaa is on its way
			if err := o.Send([]byte(s)); err != nil {
				t.Errorf("%s: %v", s, err)
			}
			synctest.Wait()
		}
		if err := o.Send([]byte("ddddddddddd")); err != protocol.ErrDropped {
			t.Errorf("too large: %v", err)
		}
		if o.Queued() != 8 || o.Dropped() != 2 {
			t.Errorf("%d wait, %d dropped", o.Queued(), o.Dropped())
		}
		got := make([]byte, 8)
		if io.ReadFull(peer, got); string(got) != "aaaacccc" {
			t.Errorf("%s", got)
		}
		synctest.Wait()
	})
}

// Block waits for its time, and for room.
func TestBlockTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer := outbox(t, "pipe", protocol.QueueOptions{MaxBytes: 5, Overflow: protocol.Block, BlockTime: time.Minute})
		o.Send([]byte("aaaa"))
		begin := time.Now()
		if err := o.Send([]byte("bbbb")); err != protocol.ErrDropped || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := o.TrySend([]byte("cccc")); err != protocol.ErrDropped || o.Dropped() != 2 {
			t.Errorf("%v, %d dropped", err, o.Dropped())
		}
		time.AfterFunc(time.Second, func() { io.ReadFull(peer, make([]byte, 8)) })
		if err := o.Send([]byte("dddd")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if o.Queued() != 0 {
			t.Errorf("%d wait", o.Queued())
		}
	})
}

// A write that fails where nobody waits for it ends the connection's reads too.
func TestWriteErrorInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, conn, _ := outbox(t, "pipe", protocol.QueueOptions{})
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		if err := o.Send([]byte("hello")); err != nil {
			t.Error(err)
		}
		_, err := conn.Read(make([]byte, 1))
		if werr := o.Wait(context.Background()); err == nil || werr == nil || !errors.Is(err, werr) || !errors.Is(o.Send(nil), werr) {
			t.Errorf("read: %v; wait: %v", err, werr)
		}
	})
}

// Wait ends with its context.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _ := outbox(t, "pipe", protocol.QueueOptions{})
		o.Send([]byte("hello"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.Wait(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}

func TestQueueOptions(t *testing.T) {
	err := protocol.QueueOptions{MaxBytes: -1, Overflow: 9, BlockTime: -1, HighWater: 1, LowWater: 2}.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, field := range []string{"MaxBytes", "Overflow", "BlockTime", "LowWater"} {
		if !bytes.Contains([]byte(err.Error()), []byte(field)) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}
