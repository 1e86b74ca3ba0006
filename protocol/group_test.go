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

// room is a server of which each connection is a member of a group.
func room(t *testing.T, g *protocol.Group, opts protocol.Options) (*house, chan *protocol.Peer) {
	peers := make(chan *protocol.Peer, 10_000)
	return serve(t, one(&script{connect: func(p *protocol.Peer) protocol.Action {
		if err := g.Join(p); err != nil {
			return protocol.Fail(err)
		}
		peers <- p
		return protocol.Continue()
	}}), opts), peers
}

// Everybody gets what was broadcast since he came, in order, once, but for those left out.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := protocol.NewGroup(protocol.Lines{})
		s, peers := room(t, g, protocol.Options{Codec: protocol.Lines{}})
		a := s.dial(t)
		pa := <-peers
		say := func(what string, want int, f func(frame []byte) (int, error)) {
			t.Helper()
			if n, err := f([]byte(what)); n != want || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		say("1", 1, g.Broadcast)
		b := s.dial(t)
		pb := <-peers
		say("2", 2, g.Broadcast)
		say("3", 1, func(f []byte) (int, error) { return g.BroadcastExcept(f, pa) })
		say("4", 1, func(f []byte) (int, error) {
			return g.BroadcastTo(f, func(p *protocol.Peer) bool { return p == pa })
		})
		say("5", 2, func(f []byte) (int, error) { return g.BroadcastExcept(f, nil) })
		synctest.Wait()
		if err := g.Leave(pb); err != nil {
			t.Error(err)
		}
		if err := g.Leave(pb); !errors.Is(err, protocol.ErrNotMember) {
			t.Errorf("twice: %v", err)
		}
		say("6", 1, g.Broadcast)
		if g.Count() != 1 || g.Has(pb) || !g.Has(pa) || len(g.Members()) != 1 {
			t.Errorf("%d members", g.Count())
		}
		if _, err := g.Broadcast([]byte("a\nb")); err == nil {
			t.Error("a line with a line feed was broadcast")
		}
		synctest.Wait()
		s.Stop()
		for nc, want := range map[io.Reader]string{a: "1\n2\n4\n5\n6\n", b: "2\n3\n5\n"} {
			if got, err := io.ReadAll(nc); string(got) != want || err != nil {
				t.Errorf("%q, want %q; %v", got, want, err)
			}
		}
		if g.Count() != 0 {
			t.Errorf("%d members are left", g.Count())
		}
		if err := g.Join(pa); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Broadcasts back to back arrive whole and in order, however they are gathered.
func TestManyBroadcasts(t *testing.T) {
	g := protocol.NewGroup(protocol.LengthPrefix{})
	s, peers := room(t, g, protocol.Options{Codec: protocol.LengthPrefix{}})
	const members, frames = 20, 5000
	done := make(chan error, members)
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
					done <- fmt.Errorf("%d after %d", n, i)
					return
				}
			}
			done <- nil
		}()
		<-peers
	}
	for i := range frames {
		if n, err := g.Broadcast(binary.BigEndian.AppendUint32(nil, uint32(i))); n != members || err != nil {
			t.Fatal(n, err)
		}
	}
	for range members {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := g.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// A member that reads nothing delays nobody, and is dropped by its policy.
func TestBroadcastToADeadMember(t *testing.T) {
	for _, c := range []struct {
		overflow protocol.Overflow
		lives    bool
	}{{protocol.CloseSlow, false}, {protocol.DropNewest, true}, {protocol.DropOldest, true}, {protocol.Block, true}} {
		t.Run(c.overflow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := protocol.NewGroup(protocol.Lines{})
				s, peers := room(t, g, protocol.Options{Codec: protocol.Lines{},
					Queue: protocol.QueueOptions{MaxBytes: 100_000, Overflow: c.overflow, BlockTime: time.Hour}})
				dead := s.dial(t)
				pd := <-peers
				good := s.dial(t)
				<-peers
				got := make(chan int, 1)
				go func() {
					b, _ := io.ReadAll(good)
					got <- bytes.Count(b, []byte("\n"))
				}()
				begin := time.Now()
				line := []byte(strings.Repeat("x", 999))
				for range 1000 {
					g.Broadcast(line)
					synctest.Wait()
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("it took %v", took)
				}
				if n := pd.Outbox().Queued(); n > 100_000 {
					t.Errorf("%d bytes wait", n)
				}
				if c.lives {
					if n := pd.Outbox().Dropped(); n < 700 || g.Dropped() == 0 && c.overflow != protocol.DropOldest {
						t.Errorf("%d dropped, %d by the group", n, g.Dropped())
					}
					dead.Close()
				}
				if e := <-s.ends; !c.lives && e.Reason != conns.QueueFull {
					t.Errorf("%v: %v", e.Reason, e.Err)
				}
				s.Stop()
				if n := <-got; n != 1000 {
					t.Errorf("the other got %d lines", n)
				}
			})
		})
	}
}
