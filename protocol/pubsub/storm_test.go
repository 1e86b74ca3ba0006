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

// eventually waits for what happens soon.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// drain reads frames until one says last, and returns how many messages there were.
func (b *bot) drain(last string) (n int) {
	for {
		switch f := b.frame(); {
		case strings.Contains(f, last):
			return n
		case strings.Contains(f, `"topic"`):
			n++
		case f != "PING":
			b.t.Errorf("%.200q after %d messages", f, n)
			return n
		}
	}
}

// Of many subscribers some stop reading in the middle of a burst: the others get all of it, and the some end.
func TestStopReading(t *testing.T) {
	const stuck, good, messages = 1000, 20, 300
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{Queue: protocol.QueueOptions{MaxBytes: 200_000}})
		var bots [stuck + good]*bot
		for i := range bots {
			bots[i] = tn.bot()
			bots[i].subscribes("x")
		}
		var wg sync.WaitGroup
		var got atomic.Int64
		for _, b := range bots[stuck:] {
			wg.Go(func() { got.Add(int64(b.drain("the end"))) })
		}
		text := strings.Repeat("a", 1000)
		for i := range messages {
			if i == messages/2 {
				synctest.Wait()
			}
			tn.s.Publish("x", "e", "", text)
			time.Sleep(time.Millisecond)
		}
		tn.s.Publish("x", "e", "", "the end")
		wg.Wait()
		if n := got.Load(); n != good*messages {
			t.Errorf("%d messages, want %d", n, good*messages)
		}
		time.Sleep(time.Minute)
		if st := tn.s.Stats(); st.Slow != stuck || st.Clients != good || st.Sessions.Attached != good || st.Sessions.Detached != stuck {
			t.Errorf("%+v", st)
		}
	})
}

// Half of all clients vanish without a word: heartbeats find them, and their sessions expire.
func TestVanish(t *testing.T) {
	const each = 200
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		for i := range 2 * each {
			b := tn.bot()
			b.subscribes("x")
			if i%2 == 0 {
				go func() {
					for f := b.frame(); f == "PING"; f = b.frame() {
						io.WriteString(b.nc, "PONG\x00")
					}
				}()
			}
		}
		time.Sleep(4 * 36 * time.Second)
		if st := tn.s.Stats(); st.Silent != each || st.Clients != each || st.Sessions.Detached != each {
			t.Errorf("%+v", st)
		}
		time.Sleep(11 * time.Minute)
		if st := tn.s.Stats(); st.Clients != each || st.Sessions.Detached != 0 || tn.s.Count("x") != each {
			t.Errorf("%+v", st)
		}
	})
}

// Subscriptions come and go, by name and by pattern, while messages flow; who has one all the time that fits
// loses none, and gets none twice, in the order of each publisher.
func TestSwitching(t *testing.T) {
	const publishers, messages = 3, 2000
	tn := found(t, pubsub.Options{History: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	var readers, writers sync.WaitGroup
	for i := range 4 {
		b := tn.bot()
		b.subscribes("a.b")
		stop := make(chan struct{})
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 { // only other patterns come and go
					io.WriteString(b.nc, `{"action":"subscribe","data":"a.*"}`+"\x00"+`{"action":"unsubscribe","data":"a.*"}`+"\x00")
				} else { // the one that fits changes
					names := []string{"a.b", "a.*", "a.>", "*.b"}
					io.WriteString(b.nc, fmt.Sprintf("{\"action\":\"subscribe\",\"data\":%q}\x00{\"action\":\"unsubscribe\",\"data\":%q}\x00", names[(n+1)%4], names[n%4]))
				}
				runtime.Gosched()
			}
		})
		readers.Go(func() {
			defer close(stop)
			var next [publishers]int
			for left := publishers * messages; left > 0; {
				f := b.frame()
				if f == "ACK" {
					continue
				}
				var m struct{ Data [2]int }
				if err := json.Unmarshal([]byte(f), &m); err != nil {
					t.Errorf("%q: %v", f, err)
					return
				}
				if who, n := m.Data[0], m.Data[1]; n != next[who] {
					t.Errorf("bot %d: message %d of %d, want %d", i, n, who, next[who])
					return
				}
				next[m.Data[0]]++
				left--
			}
			go io.Copy(io.Discard, b.nc) // or the writer waits for ever
		})
	}
	for p := range publishers {
		writers.Go(func() {
			for i := range messages {
				tn.s.Publish("a.b", "e", "", [2]int{p, i})
			}
		})
	}
	readers.Wait()
	writers.Wait()
}

// All subscribers of a topic, by name or by pattern, see one order of its messages.
func TestOneOrder(t *testing.T) {
	const messages = 1000
	tn := found(t, pubsub.Options{History: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
	var readers, writers sync.WaitGroup
	var orders [4]strings.Builder
	for i, name := range []string{"a.b", "a.*", "*.b", "a.b"} {
		b := tn.bot()
		b.subscribes(name)
		readers.Go(func() {
			for range 2 * messages {
				f := b.frame()
				orders[i].WriteString(f[strings.LastIndex(f, ":"):])
			}
		})
	}
	for p := range 2 {
		writers.Go(func() {
			for i := range messages {
				tn.s.Publish("a.b", "e", "", 10_000*p+i)
			}
		})
	}
	writers.Wait()
	readers.Wait()
	for i := range orders {
		if orders[i].String() != orders[0].String() {
			t.Errorf("%d sees another order", i)
		}
	}
}

// Attaching meets closing, publishing, and others who attach to the same session; in the end nothing is left.
func TestAttachRaces(t *testing.T) {
	tn := found(t, pubsub.Options{SessionTTL: time.Hour, Retain: -1})
	stop := make(chan struct{})
	var publisher, all sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				tn.s.Publish("x.y", "e", "", i)
				runtime.Gosched()
			}
		}
	})
	for i := range 20 {
		all.Go(func() {
			a := tn.bot()
			a.subscribes([]string{"x.y", "x.*"}[i%2])
			token := a.token
			var some sync.WaitGroup
			for range 6 {
				some.Go(func() {
					b := tn.bot()
					io.WriteString(b.nc, fmt.Sprintf("{\"action\":\"attach\",\"data\":%q}\x00{\"action\":\"subscribe\",\"data\":\"z.%d\"}\x00", token, i))
					go io.Copy(io.Discard, b.nc)
				})
			}
			a.nc.Close()
			some.Wait()
			if i%3 == 0 {
				tn.s.EndSession(token)
			}
		})
	}
	all.Wait()
	close(stop)
	publisher.Wait()
	for _, info := range tn.s.Sessions() {
		tn.s.EndSession(info.ID)
	}
	eventually(t, "all gone", func() bool {
		st := tn.s.Stats()
		return st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached == 0
	})
}

// A session that is closed by its client, after others have fought for it, still expires.
func TestAttachTwice(t *testing.T) {
	tn := found(t, pubsub.Options{SessionTTL: 50 * time.Millisecond, Retain: -1})
	for i := range 30 {
		a := tn.bot()
		a.subscribes("x")
		var some sync.WaitGroup
		var conns [4]net.Conn
		for i := range conns {
			b := tn.bot()
			conns[i] = b.nc
			some.Go(func() { b.asks("attach", a.token); b.frame() })
		}
		some.Wait()
		for _, nc := range conns {
			nc.Close()
		}
		a.nc.Close()
		eventually(t, fmt.Sprint("expired, round ", i), func() bool {
			st := tn.s.Stats()
			return st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached == 0
		})
	}
}

// Publishers that are faster than every subscriber: memory stays within bounds, and nothing hangs.
func TestFasterThanAll(t *testing.T) {
	tn := found(t, pubsub.Options{Queue: protocol.QueueOptions{MaxBytes: 64 << 10, Overflow: protocol.DropOldest}})
	const bots = 10
	for range bots {
		tn.bot().subscribes("x")
	}
	data := strings.Repeat("a", 10_000)
	before := heap()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 2000 {
				tn.s.Publish("x", "e", "", data)
			}
		})
	}
	wg.Wait()
	if n := heap() - before; n > 40<<20 {
		t.Errorf("%d MB", n>>20)
	}
	if st := tn.s.Stats(); st.Clients != bots || st.Published != 4000 || st.Dropped == 0 {
		t.Errorf("%+v", st)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A million topics: no more than there may be, their history within its limit, all gone in time.
func TestManyTopics(t *testing.T) {
	topics := 1_000_000
	if testing.Short() || raceEnabled {
		topics = 20_000
	}
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{MaxTopics: topics / 2, HistoryTotal: 10 << 20})
		tn.bot().subscribes("early")
		before := heap()
		for i := range topics {
			if n, err := tn.s.Publish(fmt.Sprint("topic.", i), "e", "", i); n != 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		n := tn.s.Stats().Topics
		if n > topics/2 || n < topics/100 {
			t.Errorf("%d topics", n)
		}
		t.Logf("%d topics take %d bytes each", n, (heap()-before)/int64(n))
		time.Sleep(2 * time.Minute)
		if n := tn.s.Stats().Topics; n != 1 {
			t.Errorf("%d topics left", n)
		}
	})
}
