package ranch_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// concurrencyCounter is a protocol that counts its connections, independently of the listener.
type concurrencyCounter struct{ now, most atomic.Int64 }

func (r *concurrencyCounter) Serve(_ context.Context, conn *transport.Conn) error {
	n := r.now.Add(1)
	defer r.now.Add(-1)
	for most := r.most.Load(); n > most && !r.most.CompareAndSwap(most, n); most = r.most.Load() {
	}
	<-time.After(5 * time.Millisecond)
	_, err := fmt.Fprintf(conn, "hello, %v\n", conn.RemoteAddr())
	return err
}

// The program of the guide: a cap of 100 and 500 clients at once, while the cap is changed twice.
// At most 100 are served at once, all 500 are served in the end, and none is refused or reset.
func TestFiveHundredClientsAtACapOfHundred(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const limit = 100
		clients := m.scale(500)
		var inside concurrencyCounter
		l, rec := m.startListener(t, ranch.Options{MaxConnections: limit}, &inside)
		var served atomic.Int64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				nc, err := m.t.Dial(testContext(t), dialAddr(l))
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(testTimeout))
				line, err := io.ReadAll(nc)
				if err != nil || len(line) == 0 {
					t.Errorf("client: got %q, %v, want a line", line, err)
					return
				}
				served.Add(1)
			})
		}
		waitUntil(t, "a fifth of the clients are served", func() bool { return served.Load() >= int64(clients/5) })
		setCap(t, l, 30)
		waitUntil(t, "three fifths of the clients are served", func() bool { return served.Load() >= int64(clients*3/5) })
		setCap(t, l, limit)
		wg.Wait()
		if served.Load() != int64(clients) || inside.most.Load() > limit {
			t.Errorf("got %d clients served, %d at once, want %d, at most %d", served.Load(), inside.most.Load(), clients, limit)
		}
		rec.wait(t, ranch.ConnEnded, clients)
		if i := l.Info(); i.Accepted != uint64(clients) || i.Reasons[conns.Finished] != uint64(clients) || i.PeakConnections > limit || i.AcceptErrors != 0 {
			t.Errorf("got %s, want %d accepted and a peak of at most %d", pretty(i), clients, limit)
		}
	})
}

var _ protocol.Protocol = (*concurrencyCounter)(nil)
