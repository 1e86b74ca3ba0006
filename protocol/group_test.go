package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
)

// newGroupServer returns a server whose connections join g, and a channel of their peers.
func newGroupServer(t *testing.T, g *protocol.Group, opts protocol.Options) (*testServer, chan *protocol.Peer) {
	peers := make(chan *protocol.Peer, 10_000)
	return newTestServer(t, shared(&script{connect: func(p *protocol.Peer) protocol.Action {
		if err := g.Join(p); err != nil {
			return protocol.Fail(err)
		}
		peers <- p
		return protocol.Continue()
	}}), opts), peers
}

// Members receive in order what was broadcast since they joined, except what excludes them.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &protocol.Group{Codec: protocol.Lines{}}
		s, peers := newGroupServer(t, g, protocol.Options{Codec: protocol.Lines{}})
		a := s.dial(t)
		pa := <-peers
		broadcast := func(frame string, except *protocol.Peer, want int) {
			t.Helper()
			if n, err := g.Broadcast([]byte(frame), except); n != want || err != nil {
				t.Errorf("Broadcast of %s: got %d, %v, want %d", frame, n, err, want)
			}
		}
		broadcast("1", nil, 1)
		b := s.dial(t)
		pb := <-peers
		broadcast("2", nil, 2)
		broadcast("3", pa, 1)
		if n := g.BroadcastEncoded([]byte("4\n"), func(p *protocol.Peer) bool { return p == pa }); n != 1 {
			t.Errorf("BroadcastEncoded to one member: got %d, want 1", n)
		}
		if n := g.BroadcastEncoded([]byte("5\n"), nil); n != 2 {
			t.Errorf("BroadcastEncoded: got %d, want 2", n)
		}
		g.Wait(pa)
		g.Wait(nil)
		if !g.Leave(pb) || g.Leave(pb) {
			t.Error("Leave twice: want true, then false")
		}
		g.Wait(pb)
		broadcast("6", nil, 1)
		if g.Count() != 1 {
			t.Errorf("got %d members, want 1", g.Count())
		}
		if _, err := g.Broadcast([]byte("a\nb"), nil); err == nil {
			t.Error("Broadcast of a line with a line feed: got no error, want one")
		}
		synctest.Wait()
		s.Stop()
		for nc, want := range map[io.Reader]string{a: "1\n2\n4\n5\n6\n", b: "2\n3\n5\n"} {
			if got, err := io.ReadAll(nc); string(got) != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		if g.Count() != 0 {
			t.Errorf("after the end: got %d members, want 0", g.Count())
		}
		if err := g.Join(pa); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("Join after the end: got %v, want %v", err, protocol.ErrEnded)
		}
	})
}

// Many broadcasts in succession arrive complete and in order.
func TestManyBroadcasts(t *testing.T) {
	g := &protocol.Group{Codec: protocol.LengthPrefix{}}
	s, peers := newGroupServer(t, g, protocol.Options{Codec: protocol.LengthPrefix{}})
	const members, frames = 20, 5000
	done := make(chan error, members)
	var all []*protocol.Peer
	for range members {
		nc := s.dial(t)
		go func() {
			head := make([]byte, 8)
			for i := range frames {
				if _, err := io.ReadFull(nc, head); err != nil {
					done <- err
					return
				}
				if n := binary.BigEndian.Uint32(head[4:]); int(n) != i {
					done <- fmt.Errorf("got frame %d, want %d", n, i)
					return
				}
			}
			done <- nil
		}()
		all = append(all, <-peers)
	}
	for i := range frames {
		if n, err := g.Broadcast(binary.BigEndian.AppendUint32(nil, uint32(i)), nil); n != members || err != nil {
			t.Fatalf("Broadcast: got %d, %v, want %d", n, err, members)
		}
	}
	for range members {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, p := range all {
		if n := p.Outbox().Dropped(); n != 0 {
			t.Errorf("got %d dropped frames, want 0", n)
		}
	}
}

// A member that does not read delays no other member, and is subject to its own policy.
func TestBroadcastToBlockedMember(t *testing.T) {
	for _, c := range []struct {
		overflow protocol.Overflow
		stays    bool
	}{{protocol.CloseSlow, false}, {protocol.DropNewest, true}, {protocol.DropOldest, true}, {protocol.Block, true}} {
		t.Run(string(c.overflow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &protocol.Group{Codec: protocol.Lines{}}
				s, peers := newGroupServer(t, g, protocol.Options{Codec: protocol.Lines{},
					Queue: protocol.QueueOptions{MaxBytes: 100_000, Overflow: c.overflow, BlockTime: time.Hour}})
				blocked := s.dial(t)
				p := <-peers
				reading := s.dial(t)
				<-peers
				got := make(chan int, 1)
				go func() {
					b, _ := io.ReadAll(reading)
					got <- bytes.Count(b, []byte("\n"))
				}()
				begin := time.Now()
				line := []byte(strings.Repeat("x", 999))
				for range 1000 {
					g.Broadcast(line, nil)
					synctest.Wait()
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("got broadcasts that took %v, want no delay", took)
				}
				if n := p.Outbox().Queued(); n > 100_000 {
					t.Errorf("got %d bytes queued, want at most 100000", n)
				}
				if c.stays {
					if n := p.Outbox().Dropped(); n < 700 {
						t.Errorf("got %d dropped frames, want at least 700", n)
					}
					blocked.Close()
				}
				if e := <-s.ends; !c.stays && e.Reason != conns.QueueFull {
					t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.QueueFull)
				}
				s.Stop()
				if n := <-got; n != 1000 {
					t.Errorf("the other member got %d lines, want 1000", n)
				}
			})
		})
	}
}
