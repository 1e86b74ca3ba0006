package client_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

// gapLog records the calls of OnGap.
type gapLog struct {
	mu    sync.Mutex
	calls []string
}

func (g *gapLog) add(from, to pubsub.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, fmt.Sprintf("%d to %d, same epoch %v", from.Offset, to.Offset, from.Epoch == to.Epoch))
}

func (g *gapLog) take() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// A subscription with positions receives what a buffer of the server has lost from the history, in
// order and once, and hears of what the history has lost too.
func TestPositionsAfterReconnect(t *testing.T) {
	for _, tt := range []struct {
		name      string
		published int // while the client is disconnected
		want      []string
		gaps      []string
	}{
		{"buffer", 1, []string{"1"}, nil},
		{"history", 4, []string{"1", "2", "3", "4"}, nil},
		{"lost", 6, []string{"3", "4", "5", "6"}, []string{"1 to 3, same epoch true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newTestServer(t, pubsub.Options{MaxBuffered: 200, History: 4})
				var nc net.Conn
				var gaps gapLog
				c, _ := srv.dial(client.Options{Transport: lastConn(srv.mem, &nc)})
				a := subscribe(t, c, "a", client.SubscribeOptions{Since: new(pubsub.Position), OnGap: gaps.add})
				srv.publish("a", 0)
				checkEqual(t, "data", receive(t, a, 1), []string{"0"})
				nc.Close()
				synctest.Wait()
				for i := range tt.published {
					srv.publish("a", i+1)
				}
				checkEqual(t, "data", receive(t, a, len(tt.want)), tt.want)
				synctest.Wait()
				checkEqual(t, "gaps", gaps.take(), tt.gaps)
				if p := a.Position(); p.Offset != uint64(tt.published)+1 || p.Epoch == "" {
					t.Errorf("Position: got %+v, want offset %d", p, tt.published+1)
				}
				if n := c.Stats().Gaps; n != uint64(len(tt.gaps)) {
					t.Errorf("Stats: got %d gaps, want %d", n, len(tt.gaps))
				}
			})
		})
	}
}

// A new subscription continues where another has ended.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		first, _ := srv.dial(client.Options{})
		a := subscribe(t, first, "a", client.SubscribeOptions{Since: new(pubsub.Position)})
		srv.publish("a", 1)
		checkEqual(t, "data", receive(t, a, 1), []string{"1"})
		since := a.Position()
		first.Close()
		srv.publish("a", 2, 3)
		second, _ := srv.dial(client.Options{})
		plain := subscribe(t, second, "b", client.SubscribeOptions{})
		b := subscribe(t, second, "a", client.SubscribeOptions{Since: &since})
		checkEqual(t, "data", receive(t, b, 2), []string{"2", "3"})
		srv.publish("b", 4)
		if m, err := plain.Next(t.Context()); err != nil || m.Offset != 0 || plain.Position() != (pubsub.Position{}) {
			t.Errorf("got offset %d, %v and position %v without Since, want none", m.Offset, err, plain.Position())
		}
	})
}

// What the server drops from its queue for a client that reads too slowly is sent again.
func TestPositionsAfterDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{History: 1000, HistoryBytes: 1 << 30,
			Queue: protocol.QueueOptions{MaxBytes: 10_000, Overflow: protocol.DropNewest}})
		block := make(chan struct{})
		const n = 400 // much more than the buffers of the connection and the queue have room for
		data := make(chan string, 2*n)
		c, _ := srv.dial(client.Options{})
		subscribe(t, c, "a", client.SubscribeOptions{Since: new(pubsub.Position), Handler: func(m client.Message) {
			<-block
			data <- string(m.Data)
		}})
		pad := fmt.Sprintf("%01000d", 0)
		for i := range n {
			srv.publish("a", "1"+pad+fmt.Sprint(i))
		}
		synctest.Wait()
		close(block)
		synctest.Wait()
		for try := 0; len(data) < n && try < 2*n; try++ { // each answer may be cut off by the queue, too
			time.Sleep(time.Second) // the server reports what it has dropped
		}
		if len(data) != n || srv.Stats().Dropped == 0 {
			t.Fatalf("got %d messages, and %d dropped; want %d, and some dropped", len(data), srv.Stats().Dropped, n)
		}
		for i := range n {
			if got, want := <-data, fmt.Sprintf("\"1%s%d\"", pad, i); got != want {
				t.Fatalf("message %d: got %s, want %s", i, got, want)
			}
		}
	})
}
