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

// Who stays in a group gets everything in order while others join, leave and end; the numbers
// that broadcasts return are what members have got.
func TestGroupChurn(t *testing.T) {
	ga, gb := protocol.NewGroup(protocol.Lines{}), protocol.NewGroup(protocol.Lines{})
	s, peers := room(t, ga, protocol.Options{Codec: protocol.Lines{}})
	const stay, frames = 5, 2000
	var readers, churn sync.WaitGroup
	var all []*protocol.Peer
	for range stay {
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
					t.Errorf("%s: %d, want %d", group, n, next[group])
					return
				}
				next[group]++
			}
			if next["a"] != frames || next["b"] != frames {
				t.Errorf("got %v", next)
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
		ga.Broadcast(fmt.Appendf(nil, "a %d", i))
		gb.Broadcast(fmt.Appendf(nil, "b %d", i))
	}
	readers.Wait()
	close(done)
	churn.Wait()
	if ga.Count() != stay || gb.Count() != stay || len(ga.Members()) != stay {
		t.Errorf("%d and %d members", ga.Count(), gb.Count())
	}
	if n, err := ga.BroadcastExcept([]byte("x"), all[0]); n != stay-1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	gb.Leave(all[0])
	if n, err := gb.BroadcastExcept([]byte("x"), all[0]); n != stay-1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Broadcasts larger than what may wait for a worker all arrive: who broadcasts waits.
func TestBroadcastBackpressure(t *testing.T) {
	g := protocol.NewGroup(nil)
	s, peers := room(t, g, protocol.Options{Queue: protocol.QueueOptions{MaxBytes: 1 << 30}})
	nc := s.dial(t)
	<-peers
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
				g.Broadcast(make([]byte, size))
			}
		})
	}
	wg.Wait()
	if n := <-got; n != broadcasts*size || g.Dropped() != 0 {
		t.Errorf("%d bytes, %d dropped", n, g.Dropped())
	}
}

// What was sent from within a callback is out when its Wait returns, held back or not.
func TestWaitInACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan bool)
		s := serve(t, one(&script{data: func(p *protocol.Peer, b []byte) protocol.Action {
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
			t.Errorf("%q, %v", b, err)
		}
		close(asked)
		nc.Close()
		if e := <-s.ends; e.Err != nil && !errors.Is(e.Err, io.EOF) {
			t.Error(e.Err)
		}
	})
}
