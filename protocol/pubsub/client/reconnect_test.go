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

// After the connection breaks, the session resumes with the messages published in the meantime, and
// with the subscriptions changed in the meantime.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		var nc net.Conn
		c, log := srv.dial(client.Options{Transport: lastConn(srv.mem, &nc)})
		a := subscribe(t, c, "a", client.SubscribeOptions{})
		b := subscribe(t, c, "b.>", client.SubscribeOptions{})
		c1 := subscribe(t, c, "c", client.SubscribeOptions{})
		token := c.Token()
		nc.Close()
		c1.Unsubscribe()
		added := make(chan *client.Subscription)
		go func() { added <- subscribe(t, c, "d", client.SubscribeOptions{}) }()
		synctest.Wait()
		srv.publish("a", 1, 2)
		srv.publish("b.x.y", 3)
		checkEqual(t, "data of a", receive(t, a, 2), []string{"1", "2"})
		checkEqual(t, "data of b", receive(t, b, 1), []string{"3"})
		d := <-added
		srv.publish("d", 4)
		srv.publish("c", 5)
		checkEqual(t, "data of d", receive(t, d, 1), []string{"4"})
		synctest.Wait()
		if n := srv.Subscribers("c"); n != 0 || c.Token() != token {
			t.Errorf("got %d subscribers of c and token %s, want 0 and %s", n, c.Token(), token)
		}
		checkEqual(t, "events", log.take(), []string{"connected", "disconnected", "resumed"})
		checkEqual(t, "stats", c.Stats(), client.Stats{Messages: 4, Disconnects: 1, Resumed: 1})
	})
}

// After a restart of the server, the client starts a new session and subscribes again.
func TestServerRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, log := srv.dial(client.Options{})
		a := subscribe(t, c, "a", client.SubscribeOptions{History: 5})
		subscribe(t, c, "b.*", client.SubscribeOptions{})
		token := c.Token()
		srv.publish("a", 1)
		checkEqual(t, "data before", receive(t, a, 1), []string{"1"})
		srv.stop()
		time.Sleep(time.Minute)
		if n := c.Stats().Disconnects; n < 6 || n > 25 { // delays of 0.1, 0.2 … 10 s, less up to a half
			t.Errorf("got %d attempts in a minute, want 6 to 25", n)
		}
		srv.start(pubsub.Options{})
		srv.publish("a", 2)
		time.Sleep(time.Minute)
		srv.publish("a", 3)
		checkEqual(t, "data after", receive(t, a, 2), []string{"2", "3"})
		checkEqual(t, "events", log.take(), []string{"connected", "disconnected", "session lost, 2 resubscribed"})
		if n := srv.Subscribers("b.*"); n != 1 || c.Token() == token {
			t.Errorf("got %d subscribers of b.* and token %s, want 1 and a new token", n, c.Token())
		}
	})
}

// After the session was lost, the topic's history fills the gap without duplicates.
func TestHistoryFillsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, log := srv.dial(client.Options{})
		a := subscribe(t, c, "a", client.SubscribeOptions{History: 4})
		p := subscribe(t, c, "*", client.SubscribeOptions{})
		srv.publish("a", 1, 2)
		checkEqual(t, "data before", receive(t, a, 2), []string{"1", "2"})
		srv.EndSession(c.Token())
		synctest.Wait()
		srv.publish("a", 3, 4)
		time.Sleep(time.Second)
		srv.publish("a", 5, 6)
		checkEqual(t, "data after", receive(t, a, 4), []string{"3", "4", "5", "6"})
		synctest.Wait()
		if n := c.Stats().Duplicates; n != 2 || len(p.C()) != 4 {
			t.Errorf("got %d duplicates and %d messages for the pattern, want 2 and 4", n, len(p.C()))
		}
		checkEqual(t, "data of the pattern, which has no history", receive(t, p, 4), []string{"1", "2", "5", "6"})
		checkEqual(t, "events", log.take(), []string{"connected", "disconnected", "session lost, 2 resubscribed"})
	})
}

// Messages of a topic with equal times are told apart.
func TestEqualTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, _ := srv.dial(client.Options{})
		a := subscribe(t, c, "a", client.SubscribeOptions{History: 8})
		for i := range 3 {
			srv.Publish("a", "", "", i)
		}
		checkEqual(t, "data before", receive(t, a, 3), []string{"0", "1", "2"})
		srv.EndSession(c.Token())
		srv.Publish("a", "", "", 3)
		srv.Publish("a", "", "", 4)
		checkEqual(t, "data after", receive(t, a, 2), []string{"3", "4"})
	})
}

func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		first, log1 := srv.dial(client.Options{})
		s := subscribe(t, first, "a", client.SubscribeOptions{})
		var unmatched []string
		second, log2 := srv.dial(client.Options{Token: first.Token(), OnUnmatched: func(m client.Message) { unmatched = append(unmatched, string(m.Data)) }})
		<-first.Done()
		first.Close()
		if !errors.Is(first.Err(), pubsub.ErrTakenOver) || !errors.Is(s.Err(), pubsub.ErrTakenOver) {
			t.Errorf("first client: got %v, and its subscription %v, want %v", first.Err(), s.Err(), pubsub.ErrTakenOver)
		}
		srv.publish("a", 1)
		synctest.Wait()
		checkEqual(t, "data without a subscription", unmatched, []string{"1"})
		s = subscribe(t, second, "a", client.SubscribeOptions{})
		srv.publish("a", 2)
		checkEqual(t, "data with a subscription", receive(t, s, 1), []string{"2"})
		checkEqual(t, "events of the first client", log1.take(), []string{"connected", "disconnected"})
		checkEqual(t, "events of the second client", log2.take(), []string{"resumed"})
		third, log3 := srv.dial(client.Options{Token: "12345"})
		checkEqual(t, "events with an unknown token", log3.take(), []string{"session lost, 0 resubscribed"})
		if third.Token() == "12345" {
			t.Error("got the unknown token as the session's, want a new one")
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, _ := srv.dial(client.Options{MaxAttempts: 3})
		s := subscribe(t, c, "a", client.SubscribeOptions{})
		srv.stop()
		<-c.Done()
		if _, err := s.Next(t.Context()); !errors.Is(err, client.ErrGaveUp) {
			t.Errorf("Next: got %v, want %v", err, client.ErrGaveUp)
		}
		if _, err := client.Dial(t.Context(), client.Options{Transport: srv.mem, Addr: "topics"}); err == nil {
			t.Error("Dial without a server: got no error, want one")
		}
	})
}

// An idle client stays connected because it answers heartbeats; it reconnects when the server is
// silent.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, log := srv.dial(client.Options{})
		time.Sleep(time.Hour)
		checkEqual(t, "events", log.take(), []string{"connected"})
		c.Close()
		srv.stop()
		srv.listen(&scriptedServer{text: `{"timestamp":[1,2,3],"token":[49,50]}` + "\x01"})
		_, log = srv.dial(client.Options{})
		time.Sleep(91 * time.Second)
		checkEqual(t, "events", log.take(), []string{"connected", "disconnected", "connected"})
	})
}

// Requests in progress fail when the connection ends.
func TestDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &testServer{t: t, mem: new(transport.Mem)}
		silent := &scriptedServer{text: `{"timestamp":[1,2,3],"token":"1"}` + "\x01"}
		srv.listen(silent)
		defer srv.stop()
		var nc net.Conn
		c, _ := srv.dial(client.Options{Transport: lastConn(srv.mem, &nc)})
		failed := make(chan error)
		go func() { _, err := c.Publish(context.Background(), "a", "", "", 1); failed <- err }()
		synctest.Wait()
		nc.Close()
		if err := <-failed; !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Publish: got %v, want %v", err, client.ErrDisconnected)
		}
		c.Close()
		want := "<regular-socket/>\x00" + `{"action":"publish","data":{"topic":"a","event":"","message_id":"","data":1},"id":1}` + "\x00"
		checkEqual(t, "bytes on the wire", strings.TrimSuffix(silent.received(), "<regular-socket/>\x00"), want)
	})
}

// An invalid frame ends the connection, after which the client reconnects. Unknown frames and
// unusual values in a message do not.
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
			srv := &testServer{t: t, mem: new(transport.Mem)}
			srv.listen(&scriptedServer{text: hello + text})
			defer srv.stop()
			c, err := client.Dial(t.Context(), client.Options{Transport: srv.mem, Addr: "topics"})
			if err != nil && bad {
				return // the frame arrived with the greeting
			} else if err != nil {
				t.Fatalf("%.50q: Dial: got %v, want no error", text, err)
			}
			defer c.Close()
			time.Sleep(50 * time.Millisecond) // less than the delay before the first reconnect
			if n := c.Stats().Disconnects; n > 0 != bad {
				t.Errorf("%.50q: got %d disconnects, want one: %v", text, n, bad)
			}
		})
	}
}

// Connections fail again and again in the middle of frames. A client that repeats each publish
// until it is acknowledged publishes all messages, and subscribers receive them in order.
func TestFlakyConnections(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			srv := newTestServer(t, pubsub.Options{})
			n := seed
			flaky := wrapped{srv.mem, func(nc net.Conn) net.Conn {
				n += 10
				return protocoltest.NewFlaky(nc, protocoltest.FlakyOptions{Chance: 0.02, Seed: n, Most: 7})
			}}
			observer, _ := srv.dial(client.Options{})
			all := subscribe(t, observer, "a", client.SubscribeOptions{Buffer: 1000})
			var c *client.Client
			for err := errors.New("not connected"); err != nil; { // Dial makes one attempt only
				c, err = client.Dial(t.Context(), client.Options{Transport: flaky, Addr: "topics", ReadTimeout: time.Hour})
			}
			defer c.Close()
			own := subscribe(t, c, "a", client.SubscribeOptions{Buffer: 1000})
			for i := range 30 {
				for {
					if _, err := c.Publish(t.Context(), "a", "", fmt.Sprint(i), i); err == nil {
						break
					}
				}
			}
			time.Sleep(time.Minute)
			checkOrder(t, all, 30)
			checkOrder(t, own, 0) // the client itself may have lost messages in flight
			if st := c.Stats(); st.Resumed == 0 {
				t.Errorf("got %+v, want resumed connections", st)
			}
		})
	}
}

// checkOrder receives the messages in the channel. It checks that their numbers do not decrease and
// that there are at least n different ones.
func checkOrder(t *testing.T, s *client.Subscription, n int) {
	t.Helper()
	seen, last := map[string]bool{}, -1
	for len(s.C()) > 0 {
		m := <-s.C()
		var i int
		fmt.Sscan(string(m.Data), &i)
		if i < last {
			t.Errorf("got message %d after %d, want ascending order", i, last)
		}
		last, seen[m.ID] = i, true
	}
	if len(seen) < n {
		t.Errorf("got %d different messages, want %d", len(seen), n)
	}
}

// A slow client loses nothing while the server's queue has room.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{Heartbeat: -1})
		c, _ := srv.dial(client.Options{ReadTimeout: -1, Transport: wrapped{srv.mem, func(nc net.Conn) net.Conn {
			return protocoltest.NewSlow(nc, 100, 100*time.Millisecond)
		}}})
		s := subscribe(t, c, "a", client.SubscribeOptions{Buffer: 1000})
		for i := range 1000 {
			srv.publish("a", i)
		}
		time.Sleep(time.Hour)
		checkOrder(t, s, 0)
		if n := c.Stats().Messages; n != 1000 {
			t.Errorf("got %d messages, want 1000", n)
		}
	})
}

// Messages that the server has dropped are counted and reported.
func TestReportedLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{MaxBuffered: 150, Queue: protocol.QueueOptions{Overflow: protocol.DropNewest, MaxBytes: 1000}})
		var nc net.Conn
		c, log := srv.dial(client.Options{Transport: lastConn(srv.mem, &nc)})
		s := subscribe(t, c, "a", client.SubscribeOptions{Overflow: protocol.Block, Buffer: 1})
		nc.Close()
		synctest.Wait()
		srv.publish("a", 1, 2, 3)
		checkEqual(t, "buffered data", receive(t, s, 1), []string{"3"})
		if n := c.Stats().LostBytes; n < 100 || n > 300 {
			t.Errorf("got %d lost bytes, want 100 to 300", n)
		}
		const all = 2000
		for i := range all { // more than the connection and the queue take
			srv.publish("a", i)
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
				t.Errorf("got %d messages and %d dropped, want some dropped and %d in total", got, n, all)
			}
			break
		}
		events := log.take()
		if len(events) < 5 || !slices.Contains(events, "lost bytes") || !slices.Contains(events, "dropped") {
			t.Errorf("got the events %q, want lost bytes and dropped among them", events)
		}
	})
}
