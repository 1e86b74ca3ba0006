package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/protocoltest"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/transport"
)

// last is a transport that remembers its last connection.
func last(mem transport.Transport, nc *net.Conn) transport.Transport {
	return wrapped{mem, func(c net.Conn) net.Conn { *nc = c; return c }}
}

// The connection breaks; the session goes on with what was published meanwhile, and with what was asked
// for meanwhile.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		var nc net.Conn
		c, d := tn.dial(client.Options{Transport: last(tn.mem, &nc)})
		a := subscribe(t, c, "a", client.Subscription{})
		b := subscribe(t, c, "b.>", client.Subscription{})
		gone := subscribe(t, c, "c", client.Subscription{})
		token := c.Token()
		nc.Close()
		gone.Unsubscribe()
		more := make(chan *client.Sub)
		go func() { more <- subscribe(t, c, "d", client.Subscription{}) }()
		synctest.Wait()
		tn.publish("a", 1, 2)
		tn.publish("b.x.y", 3)
		equal(t, "a", []string{"1", "2"}, data(t, a, 2))
		equal(t, "b", []string{"3"}, data(t, b, 1))
		sub := <-more
		tn.publish("d", 4)
		tn.publish("c", 5)
		equal(t, "d", []string{"4"}, data(t, sub, 1))
		synctest.Wait()
		if n := tn.s.Subscribers("c"); n != 0 || c.Token() != token {
			t.Errorf("%d have subscribed to c, token %s, before %s", n, c.Token(), token)
		}
		equal(t, "events", []client.Kind{client.Connected, client.Lost, client.Resumed}, d.kinds())
		equal(t, "stats", client.Stats{Messages: 4, Lost: 1, Resumed: 1}, c.Stats())
	})
}

// The server is another one: there are new subscriptions, and what is lost is lost.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, d := tn.dial(client.Options{})
		a := subscribe(t, c, "a", client.Subscription{History: 5})
		subscribe(t, c, "b.*", client.Subscription{})
		token := c.Token()
		tn.publish("a", 1)
		equal(t, "before", []string{"1"}, data(t, a, 1))
		tn.stop()
		time.Sleep(time.Minute)
		if n := c.Stats().Lost; n < 6 || n > 25 { // 0.1, 0.2 … 10 s, less up to half
			t.Errorf("%d attempts in a minute", n)
		}
		tn.start(pubsub.Options{})
		tn.publish("a", 2)
		time.Sleep(time.Minute)
		tn.publish("a", 3)
		equal(t, "after", []string{"2", "3"}, data(t, a, 2))
		equal(t, "events", []client.Kind{client.Connected, client.Lost, client.Resubscribed}, d.kinds())
		if tn.s.Subscribers("b.*") != 1 || c.Token() == token {
			t.Error("not subscribed again")
		}
	})
}

// The server has ended the session, and remembers the topic: history closes the gap, and nothing comes twice.
func TestHistoryClosesTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, d := tn.dial(client.Options{})
		a := subscribe(t, c, "a", client.Subscription{History: 4})
		p := subscribe(t, c, "*", client.Subscription{})
		tn.publish("a", 1, 2)
		equal(t, "before", []string{"1", "2"}, data(t, a, 2))
		tn.s.EndSession(c.Token())
		synctest.Wait()
		tn.publish("a", 3, 4)
		time.Sleep(time.Second)
		tn.publish("a", 5, 6)
		equal(t, "after", []string{"3", "4", "5", "6"}, data(t, a, 4))
		synctest.Wait()
		if n := c.Stats().Duplicates; n != 2 || len(p.C()) != 4 {
			t.Errorf("%d duplicates; the pattern has %d", n, len(p.C()))
		}
		equal(t, "the pattern, which has no history", []string{"1", "2", "5", "6"}, data(t, p, 4))
		equal(t, "events", []client.Kind{client.Connected, client.Lost, client.Resubscribed}, d.kinds())
	})
}

// Messages that a topic has got at one and the same time are told apart.
func TestMessagesOfTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, _ := tn.dial(client.Options{})
		a := subscribe(t, c, "a", client.Subscription{History: 8})
		for i := range 3 {
			tn.s.Publish("a", "", "", i)
		}
		equal(t, "before", []string{"0", "1", "2"}, data(t, a, 3))
		tn.s.EndSession(c.Token())
		tn.s.Publish("a", "", "", 3)
		tn.s.Publish("a", "", "", 4)
		equal(t, "after", []string{"3", "4"}, data(t, a, 2))
	})
}

func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		first, d := tn.dial(client.Options{})
		s := subscribe(t, first, "a", client.Subscription{})
		var unclaimed []string
		second, d2 := tn.dial(client.Options{Token: first.Token(), OnMessage: func(m client.Message) { unclaimed = append(unclaimed, string(m.Data)) }})
		<-first.Done()
		first.Close()
		if !errors.Is(first.Err(), client.ErrTakenOver) || !errors.Is(s.Err(), client.ErrTakenOver) {
			t.Errorf("the first: %v, %v", first.Err(), s.Err())
		}
		tn.publish("a", 1)
		synctest.Wait()
		equal(t, "without a subscription", []string{"1"}, unclaimed)
		s = subscribe(t, second, "a", client.Subscription{})
		tn.publish("a", 2)
		equal(t, "with one", []string{"2"}, data(t, s, 1))
		equal(t, "events", []client.Kind{client.Connected, client.Lost}, d.kinds())
		equal(t, "events of the second", []client.Kind{client.Resumed}, d2.kinds())
		third, d3 := tn.dial(client.Options{Token: "12345"})
		equal(t, "an unknown token", []client.Kind{client.Resubscribed}, d3.kinds())
		if third.Token() == "12345" {
			t.Error("the token stays")
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, _ := tn.dial(client.Options{MaxAttempts: 3})
		s := subscribe(t, c, "a", client.Subscription{})
		tn.stop()
		<-c.Done()
		if _, err := s.Next(t.Context()); !errors.Is(err, client.ErrGaveUp) {
			t.Error(err)
		}
		if _, err := client.Dial(t.Context(), client.Options{Transport: tn.mem, Addr: "topics"}); err == nil {
			t.Error("connected to nobody")
		}
	})
}

// A client that is idle stays, for it answers heartbeats; a server that says nothing any more is left.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, d := tn.dial(client.Options{})
		time.Sleep(time.Hour)
		equal(t, "events", []client.Kind{client.Connected}, d.kinds())
		c.Close()
		tn.stop()
		tn.listen(&says{text: `{"timestamp":[1,2,3],"token":[49,50]}` + "\x01"})
		_, d = tn.dial(client.Options{})
		time.Sleep(91 * time.Second)
		equal(t, "events", []client.Kind{client.Connected, client.Lost, client.Connected}, d.kinds())
	})
}

// Requests under way fail when the connection ends.
func TestDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := &town{t: t, mem: new(transport.Mem)}
		quiet := &says{text: `{"timestamp":[1,2,3],"token":"1"}` + "\x01"}
		tn.listen(quiet)
		defer tn.stop()
		var nc net.Conn
		c, _ := tn.dial(client.Options{Transport: last(tn.mem, &nc)})
		failed := make(chan error)
		go func() { _, err := c.Publish(context.Background(), "a", "", "", 1); failed <- err }()
		synctest.Wait()
		nc.Close()
		if err := <-failed; !errors.Is(err, client.ErrDisconnected) {
			t.Error(err)
		}
		c.Close()
		want := "<regular-socket/>\x00" + `{"action":"publish","data":{"topic":"a","event":"","message_id":"","data":1},"id":1}` + "\x00"
		equal(t, "on the wire", want, strings.TrimSuffix(quiet.heard(), "<regular-socket/>\x00"))
	})
}

// What is no frame ends the connection, and the client makes another; what a publisher has added to a
// message does not.
func TestBadFrames(t *testing.T) {
	const hello = `{"timestamp":[1,2,3],"token":"1"}` + "\x01"
	for text, bad := range map[string]bool{
		"ACK\x01PING\x01PONG\x01\x01":                          false,
		`{"later":true}` + "\x01":                              false,
		`{"published":1,"id":"x"}` + "\x01":                    false,
		`{"subscribers":1}` + "\x01":                           false,
		`{"dropped":3}` + "\x01" + `{"lost_bytes":1}` + "\x01": false,
		`{"timestamp":[1,2,3],"topic":"a","event":{},"message_id":7,"error":5,"published":[],"token":{},"data":1}` + "\x01": false,
		"\x02\x01":                             true,
		"HELLO\x01":                            true,
		"[1]\x01":                              true,
		`{"error":1}` + "\x01":                 true,
		`{"timestamp":1,"topic":"a"}` + "\x01": true,
		hello:                                  true,
		strings.Repeat("x", 2<<20):             true,
		`{"error":"go away"}` + "\x01":         true,
	} {
		synctest.Test(t, func(t *testing.T) {
			tn := &town{t: t, mem: new(transport.Mem)}
			tn.listen(&says{text: hello + text})
			defer tn.stop()
			c, err := client.Dial(t.Context(), client.Options{Transport: tn.mem, Addr: "topics"})
			if err != nil && bad {
				return // it came with the greeting
			} else if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			time.Sleep(50 * time.Millisecond) // the first reconnect comes later
			if n := c.Stats().Lost; n > 0 != bad {
				t.Errorf("%.50q: lost %d times", text, n)
			}
		})
	}
}

// Over connections that fail all the time, in the middle of frames, everything that is published by a client
// that repeats until it is acknowledged arrives at the server, and subscribers get it in order.
func TestFlaky(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			tn := found(t, pubsub.Options{})
			n := seed
			flaky := wrapped{tn.mem, func(nc net.Conn) net.Conn {
				n += 10
				return &protocoltest.Flaky{Conn: nc, Chance: 0.02, Seed: n, Most: 7}
			}}
			watch, _ := tn.dial(client.Options{})
			all := subscribe(t, watch, "a", client.Subscription{Buffer: 1000})
			c, err := client.Dial(t.Context(), client.Options{Transport: wrapped{tn.mem, func(nc net.Conn) net.Conn { return nc }}, Addr: "topics"})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			for c, err = nil, errors.New("not yet"); err != nil; { // Dial does not try twice
				c, err = client.Dial(t.Context(), client.Options{Transport: flaky, Addr: "topics", Silence: time.Hour})
			}
			defer c.Close()
			own := subscribe(t, c, "a", client.Subscription{Buffer: 1000})
			for i := range 30 {
				for {
					if _, err := c.Publish(t.Context(), "a", "", fmt.Sprint(i), i); err == nil {
						break
					}
				}
			}
			time.Sleep(time.Minute)
			inOrder(t, all, 30, true)
			inOrder(t, own, 30, false)
			if st := c.Stats(); st.Resumed == 0 {
				t.Errorf("nothing has failed: %+v", st)
			}
		})
	}
}

// inOrder takes what there is of a channel: numbers that do not go back, and if it must be complete, all.
func inOrder(t *testing.T, s *client.Sub, n int, complete bool) {
	t.Helper()
	seen, last := map[string]bool{}, -1
	for len(s.C()) > 0 {
		m := <-s.C()
		var i int
		fmt.Sscan(string(m.Data), &i)
		if i < last {
			t.Errorf("%d after %d", i, last)
		}
		last, seen[m.ID] = i, true
	}
	if complete && len(seen) != n {
		t.Errorf("%d of %d have arrived", len(seen), n)
	}
}

// A client that reads slowly loses nothing as long as the server's queue has room.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{Heartbeat: -1})
		c, _ := tn.dial(client.Options{Silence: -1, Transport: wrapped{tn.mem, func(nc net.Conn) net.Conn {
			return protocoltest.NewSlow(nc, 100, 100*time.Millisecond)
		}}})
		s := subscribe(t, c, "a", client.Subscription{Buffer: 1000})
		for i := range 1000 {
			tn.publish("a", i)
		}
		time.Sleep(time.Hour)
		inOrder(t, s, 1000, false)
		if n := c.Stats().Messages; n != 1000 {
			t.Errorf("%d messages", n)
		}
	})
}

// What the server could not deliver is counted, and told.
func TestLossesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{MaxBuffered: 150, Queue: protocol.QueueOptions{Overflow: protocol.DropNewest, MaxBytes: 1000}})
		var nc net.Conn
		c, d := tn.dial(client.Options{Transport: last(tn.mem, &nc)})
		s := subscribe(t, c, "a", client.Subscription{Full: client.Wait, Buffer: 1})
		nc.Close()
		synctest.Wait()
		tn.publish("a", 1, 2, 3)
		equal(t, "what was kept", []string{"3"}, data(t, s, 1))
		if n := c.Stats().LostBytes; n < 100 || n > 300 {
			t.Errorf("%d bytes lost", n)
		}
		const all = 2000
		for i := range all { // more than the connection and the queue hold
			tn.publish("a", i)
		}
		for got := 0; ; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := s.Next(ctx)
			cancel()
			if err == nil {
				got++
				continue
			}
			if n := c.Stats().ServerDropped; got == all || uint64(got)+n != all {
				t.Errorf("%d of %d messages, %d dropped", got, all, n)
			}
			break
		}
		kinds := d.kinds()
		if len(kinds) < 5 || !slices.Contains(kinds, client.LostBytes) || !slices.Contains(kinds, client.Dropped) {
			t.Errorf("events: %v", kinds)
		}
	})
}
