package protocol_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"goranch/protocol"
)

// Members receive all broadcasts in order while other peers join, leave and end, and broadcasts
// return the number of members.
func TestGroupChurn(t *testing.T) {
	ga, gb := &protocol.Group{Codec: protocol.Lines{}}, &protocol.Group{Codec: protocol.Lines{}}
	s, peers := newGroupServer(t, ga, protocol.Options{Codec: protocol.Lines{}})
	const members, frames = 5, 2000
	var readers, churn sync.WaitGroup
	var all []*protocol.Peer
	for range members {
		nc := s.dial(t)
		p := <-peers
		all = append(all, p)
		if err := gb.Join(p); err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			next := map[string]int{}
			for in := bufio.NewScanner(nc); next["a"]+next["b"] < 2*frames && in.Scan(); {
				group, number, _ := strings.Cut(in.Text(), " ")
				if n, _ := strconv.Atoi(number); n != next[group] {
					t.Errorf("group %s: got frame %d, want %d", group, n, next[group])
					return
				}
				next[group]++
			}
			if next["a"] != frames || next["b"] != frames {
				t.Errorf("got %v frames, want %d of each group", next, frames)
			}
		})
	}
	done := make(chan bool)
	for i := range 4 {
		churn.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				nc := s.dial(t)
				go io.Copy(io.Discard, nc)
				p := <-peers
				gb.Join(p)
				if i%2 == 0 {
					ga.Leave(p)
					ga.Join(p)
				}
				if i == 3 {
					p.Close(nil)
				}
				nc.Close()
				<-s.ends
			}
		})
	}
	for i := range frames {
		ga.Broadcast(fmt.Appendf(nil, "a %d", i), nil)
		gb.Broadcast(fmt.Appendf(nil, "b %d", i), nil)
	}
	readers.Wait()
	close(done)
	churn.Wait()
	if ga.Count() != members || gb.Count() != members {
		t.Errorf("got %d and %d members, want %d", ga.Count(), gb.Count(), members)
	}
	if n, err := ga.Broadcast([]byte("x"), all[0]); n != members-1 || err != nil {
		t.Errorf("Broadcast except a member: got %d, %v, want %d", n, err, members-1)
	}
	gb.Leave(all[0])
	if n, err := gb.Broadcast([]byte("x"), all[0]); n != members-1 || err != nil {
		t.Errorf("Broadcast except a former member: got %d, %v, want %d", n, err, members-1)
	}
}

// Broadcasts wait when too many bytes are pending, and all arrive.
func TestBroadcastBackpressure(t *testing.T) {
	g := new(protocol.Group)
	s, peers := newGroupServer(t, g, protocol.Options{Queue: protocol.QueueOptions{MaxBytes: 1 << 30}})
	nc := s.dial(t)
	p := <-peers
	got := make(chan int64, 1)
	const broadcasts, size = 40, 1 << 20
	go func() {
		n, _ := io.CopyN(io.Discard, nc, broadcasts*size)
		got <- n
	}()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range broadcasts / 4 {
				g.Broadcast(make([]byte, size), nil)
			}
		})
	}
	wg.Wait()
	if n := <-got; n != broadcasts*size || p.Outbox().Dropped() != 0 {
		t.Errorf("got %d bytes and %d dropped broadcasts, want %d and 0", n, p.Outbox().Dropped(), broadcasts*size)
	}
}

// Frames that a callback sends are written when Wait returns, although the outbox is corked.
func TestWaitInACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan bool)
		s := newTestServer(t, shared(&script{data: func(p *protocol.Peer, b []byte) protocol.Action {
			if string(b) == "a" {
				p.Send([]byte("question"))
				if err := p.Outbox().Wait(context.Background()); err != nil {
					return protocol.Fail(err)
				}
				<-asked
			}
			return protocol.Continue()
		}}), protocol.Options{Codec: protocol.Lines{}})
		nc := s.dial(t)
		io.WriteString(nc, "a\nb\n")
		b := make([]byte, 9)
		if _, err := io.ReadFull(nc, b); err != nil || string(b) != "question\n" {
			t.Errorf("got %q, %v, want question", b, err)
		}
		close(asked)
		nc.Close()
		if e := <-s.ends; e.Err != nil && !errors.Is(e.Err, io.EOF) {
			t.Errorf("got %v, want %v", e.Err, io.EOF)
		}
	})
}
