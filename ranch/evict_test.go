package ranch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// When the cap is lowered, connections are evicted by the policy.
func TestEvict(t *testing.T) {
	for _, policy := range []conns.EvictionPolicy{conns.EvictNone, conns.EvictOldest, conns.EvictMostIdle, conns.EvictRandom} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				l, rec := startListener(t, f, ranch.Options{MaxConnections: 10, Evict: policy}, greetAndEcho)
				var all []*client
				for range 10 {
					all = append(all, newClient(t, f, dialAddr(l)).waitServed(t))
					time.Sleep(5 * time.Second)
				}
				all[0].checkEcho(t) // the oldest is not the most idle
				time.Sleep(5 * time.Second)
				if err := l.SetMaxConnections(7); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if policy == conns.EvictNone {
					if n := rec.count(ranch.ConnEnded); n != 0 {
						t.Errorf("got %d evicted connections, want 0", n)
					}
					return
				}
				waitActive(t, l, 7)
				first := l.Connections()[0].ID
				for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
					if e.Reason != conns.Evicted {
						t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, conns.Evicted)
					}
					if policy == conns.EvictOldest && e.Conn.ID() >= first || policy == conns.EvictMostIdle && e.Conn.ID() <= first {
						t.Errorf("got connection %d evicted, the oldest that stays is %d", e.Conn.ID(), first)
					}
				}
			})
		})
	}
}

// Setting the same cap again, or another option, evicts no more connections than those that are
// asked to stop already.
func TestEvictOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		opts := ranch.Options{MaxConnections: 10, Evict: conns.EvictOldest, ShutdownTimeout: 10 * time.Second}
		var asked atomic.Int32
		slow := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.Write([]byte("+"))
			<-ctx.Done()
			asked.Add(1)
			conn.NetConn().Read(make([]byte, 1)) // until it is closed
			for {
				if _, err := conn.Write([]byte(".")); err != nil {
					return context.Cause(ctx)
				}
			}
		})
		l, rec := startListener(t, f, opts, slow)
		servedClients(t, f, dialAddr(l), 10)
		opts.MaxConnections = 6
		for range 3 {
			if _, err := l.SetOptions(nil, opts); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := asked.Load(); n != 4 {
			t.Errorf("got %d connections asked to stop, want 4", n)
		}
		if err := l.SetMaxConnections(5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := asked.Load(); n != 5 {
			t.Errorf("got %d connections asked to stop, want 5", n)
		}
		for _, got := range waitReasons(t, rec, 5) {
			if got != conns.Evicted {
				t.Errorf("got reason %v, want %v", got, conns.Evicted)
			}
		}
		waitActive(t, l, 5)
	})
}
