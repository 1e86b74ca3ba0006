package pubsub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// scaled returns n, or a fifth of it with the race detector.
func scaled(n int) int {
	if raceEnabled {
		return n / 5
	}
	return n
}

// countUntil reads frames until one contains last, and returns the number of messages before it.
func (c *testClient) countUntil(last string) (n int) {
	for {
		switch f := c.frame(); {
		case strings.Contains(f, last):
			return n
		case strings.Contains(f, `"topic"`):
			n++
		case f != "PING":
			c.t.Errorf("after %d messages: got %.200q, want a message or PING", n, f)
			return n
		}
	}
}

// Subscribers that stop reading during a burst are closed; the others receive all of it.
func TestStuckSubscribers(t *testing.T) {
	const good, messages = 20, 300
	stuck := scaled(1000)
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{Queue: protocol.QueueOptions{MaxBytes: 200_000}})
		clients := make([]*testClient, stuck+good)
		for i := range clients {
			clients[i] = srv.client()
			clients[i].subscribe("x")
		}
		var wg sync.WaitGroup
		var got atomic.Int64
		for _, c := range clients[stuck:] {
			wg.Go(func() { got.Add(int64(c.countUntil("the end"))) })
		}
		text := strings.Repeat("a", 1000)
		for i := range messages {
			if i == messages/2 {
				synctest.Wait()
			}
			srv.Publish("x", "e", "", text)
			time.Sleep(time.Millisecond)
		}
		srv.Publish("x", "e", "", "the end")
		wg.Wait()
		if n := got.Load(); n != good*messages {
			t.Errorf("got %d messages, want %d", n, good*messages)
		}
		time.Sleep(time.Minute)
		if st := srv.Stats(); st.Slow != uint64(stuck) || st.Clients != good || st.Sessions.Attached != good || st.Sessions.Detached != stuck {
			t.Errorf("got %+v, want %d slow and detached and %d attached clients", st, stuck, good)
		}
	})
}

// Heartbeats detect clients that vanish without closing, and their sessions expire.
func TestVanishedClients(t *testing.T) {
	const each = 200
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		for i := range 2 * each {
			c := srv.client()
			c.subscribe("x")
			if i%2 == 0 {
				go func() {
					for f := c.frame(); f == "PING"; f = c.frame() {
						io.WriteString(c.nc, "PONG\x00")
					}
				}()
			}
		}
		time.Sleep(4 * 36 * time.Second)
		if st := srv.Stats(); st.Silent != each || st.Clients != each || st.Sessions.Detached != each {
			t.Errorf("got %+v, want %d silent clients, with detached sessions, and %d others", st, each, each)
		}
		time.Sleep(11 * time.Minute)
		if st := srv.Stats(); st.Clients != each || st.Sessions.Detached != 0 || srv.Subscribers("x") != each {
			t.Errorf("after the TTL: got %+v, want %d clients and no detached session", st, each)
		}
	})
}

// A session that always has a matching subscription, while others are added and removed, receives
// every message once, in the order of each publisher.
func TestChangingSubscriptions(t *testing.T) {
	const publishers = 3
	messages := scaled(2000)
	srv := newTestServer(t, pubsub.Options{History: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	var readers, writers sync.WaitGroup
	for i := range 4 {
		c := srv.client()
		c.subscribe("a.b")
		stop := make(chan struct{})
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 { // a.b stays
					io.WriteString(c.nc, `{"action":"subscribe","data":"a.*"}`+"\x00"+`{"action":"unsubscribe","data":"a.*"}`+"\x00")
				} else { // no subscription stays
					names := []string{"a.b", "a.*", "a.>", "*.b"}
					io.WriteString(c.nc, fmt.Sprintf("{\"action\":\"subscribe\",\"data\":%q}\x00{\"action\":\"unsubscribe\",\"data\":%q}\x00", names[(n+1)%4], names[n%4]))
				}
				runtime.Gosched()
			}
		})
		readers.Go(func() {
			defer close(stop)
			var next [publishers]int
			for remaining := publishers * messages; remaining > 0; {
				f := c.frame()
				if f == "ACK" {
					continue
				}
				var m struct{ Data [2]int }
				if err := json.Unmarshal([]byte(f), &m); err != nil {
					t.Errorf("got %q, %v, want a message", f, err)
					return
				}
				if p, n := m.Data[0], m.Data[1]; n != next[p] {
					t.Errorf("client %d: got message %d of publisher %d, want %d", i, n, p, next[p])
					return
				}
				next[m.Data[0]]++
				remaining--
			}
			go io.Copy(io.Discard, c.nc) // otherwise the writer blocks
		})
	}
	for p := range publishers {
		writers.Go(func() {
			for i := range messages {
				srv.Publish("a.b", "e", "", [2]int{p, i})
			}
		})
	}
	readers.Wait()
	writers.Wait()
}

// All subscribers, of a topic and of matching patterns, receive its messages in the same order.
func TestSameOrder(t *testing.T) {
	const messages = 1000
	srv := newTestServer(t, pubsub.Options{History: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	var readers, writers sync.WaitGroup
	var orders [4]strings.Builder
	for i, name := range []string{"a.b", "a.*", "*.b", "a.b"} {
		c := srv.client()
		c.subscribe(name)
		readers.Go(func() {
			for range 2 * messages {
				f := c.frame()
				orders[i].WriteString(f[strings.LastIndex(f, ":"):])
			}
		})
	}
	for p := range 2 {
		writers.Go(func() {
			for i := range messages {
				srv.Publish("a.b", "e", "", 10_000*p+i)
			}
		})
	}
	writers.Wait()
	readers.Wait()
	for i := range orders {
		if orders[i].String() != orders[0].String() {
			t.Errorf("client %d: got another order than client 0, want the same", i)
		}
	}
}

// Attaching to a session races with closing, publishing, and attaching to the same session. No
// topic, client or session is left over.
func TestAttachRaces(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{SessionTTL: time.Hour, Retain: -1})
	stop := make(chan struct{})
	var publisher, all sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				srv.Publish("x.y", "e", "", i)
				runtime.Gosched()
			}
		}
	})
	for i := range 20 {
		all.Go(func() {
			a := srv.client()
			a.subscribe([]string{"x.y", "x.*"}[i%2])
			token := a.token
			var attaching sync.WaitGroup
			for range 6 {
				attaching.Go(func() {
					b := srv.client()
					io.WriteString(b.nc, fmt.Sprintf("{\"action\":\"attach\",\"data\":%q}\x00{\"action\":\"subscribe\",\"data\":\"z.%d\"}\x00", token, i))
					go io.Copy(io.Discard, b.nc)
				})
			}
			a.nc.Close()
			attaching.Wait()
			if i%3 == 0 {
				srv.EndSession(token)
			}
		})
	}
	all.Wait()
	close(stop)
	publisher.Wait()
	for _, info := range srv.Sessions() {
		srv.EndSession(info.ID)
	}
	waitFor(t, "removal of all sessions", func() bool {
		st := srv.Stats()
		return st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached == 0
	})
}

// A session to which several connections have tried to attach at once still expires.
func TestConcurrentAttach(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{SessionTTL: 50 * time.Millisecond, Retain: -1})
	for i := range 30 {
		a := srv.client()
		a.subscribe("x")
		var attaching sync.WaitGroup
		var conns [4]net.Conn
		for i := range conns {
			b := srv.client()
			conns[i] = b.nc
			attaching.Go(func() { b.request("attach", a.token); b.frame() })
		}
		attaching.Wait()
		for _, nc := range conns {
			nc.Close()
		}
		a.nc.Close()
		waitFor(t, fmt.Sprint("expiry in round ", i), func() bool {
			st := srv.Stats()
			return st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached == 0
		})
	}
}

// Publishers that are faster than every subscriber neither block nor exhaust memory.
func TestFastPublishers(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{Queue: protocol.QueueOptions{MaxBytes: 64 << 10, Overflow: protocol.DropOldest}})
	const clients = 10
	for range clients {
		srv.client().subscribe("x")
	}
	data := strings.Repeat("a", 10_000)
	before := heapBytes()
	var wg sync.WaitGroup
	messages := scaled(2000)
	for range 2 {
		wg.Go(func() {
			for range messages {
				srv.Publish("x", "e", "", data)
			}
		})
	}
	wg.Wait()
	if n := heapBytes() - before; n > 40<<20 {
		t.Errorf("heap growth: got %d MB, want at most 40", n>>20)
	}
	if st := srv.Stats(); st.Clients != clients || st.Published != uint64(2*messages) || st.Dropped == 0 {
		t.Errorf("got %+v, want %d clients, %d messages and some dropped", st, clients, 2*messages)
	}
}

// Publishing to a million topics stays within HistoryTotal, and the topics are
// removed after Retain.
func TestManyTopics(t *testing.T) {
	topics := 200_000
	if testing.Short() || raceEnabled {
		topics = 20_000
	}
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{MaxTopics: topics / 2, HistoryTotal: min(10<<20, 100*topics)})
		srv.client().subscribe("early")
		before := heapBytes()
		for i := range topics {
			if n, err := srv.Publish(fmt.Sprint("topic.", i), "e", "", i); n != 0 || err != nil {
				t.Fatalf("Publish: got %d, %v, want 0 and no error", n, err)
			}
		}
		n := srv.Stats().Topics
		if n > topics/2 || n < topics/100 {
			t.Errorf("got %d topics, want %d to %d", n, topics/100, topics/2)
		}
		t.Logf("%d topics take %d bytes each", n, (heapBytes()-before)/int64(n))
		time.Sleep(2 * time.Minute)
		if n := srv.Stats().Topics; n != 1 {
			t.Errorf("after Retain: got %d topics, want 1", n)
		}
	})
}
