package protocol_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
)

// While too much waits for all connections together, each may have a sixteenth of its queue. What
// was queued for a connection is free again when it is written, or when the connection ends.
func TestMaxQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *protocol.Peer, 1)
		h := &script{connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() }}
		s := newTestServer(t, shared(h), protocol.Options{MaxQueued: 200_000, Queue: protocol.QueueOptions{MaxBytes: 160_000}})
		open := func() (*protocol.Peer, io.ReadCloser) { nc := s.dial(t); return <-peers, nc }
		fill := func(p *protocol.Peer, n int) (err error) {
			for p.Outbox().Queued() < n && err == nil {
				err = p.Send(make([]byte, 1000))
				synctest.Wait()
			}
			return err
		}
		a, aClient := open()
		b, bClient := open()
		if err := errors.Join(fill(a, 155_000), fill(b, 44_000)); err != nil {
			t.Fatalf("filling the queues: got %v, want no error", err)
		}
		c, _ := open()
		if err := fill(c, 20_000); err != protocol.ErrQueueFull {
			t.Errorf("third connection: got %v, want %v", err, protocol.ErrQueueFull)
		}
		if e := <-s.ends; e.Reason != conns.QueueFull {
			t.Errorf("got end %v, want %v", e.Reason, conns.QueueFull)
		}
		d, _ := open()
		if err := fill(d, 9000); err != nil {
			t.Errorf("a sixteenth of the queue: got %v, want no error", err)
		}
		go io.CopyN(io.Discard, aClient, 300_000) // all of it
		bClient.Close()
		time.Sleep(time.Second)
		if err := fill(d, 155_000); err != nil {
			t.Errorf("after the others: got %v, want no error", err)
		}
	})
}
