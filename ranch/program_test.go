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

// room is a protocol that counts who is in it, for itself: the listener's own figures are
// not asked.
type concurrencyCounter struct{ now, most atomic.Int64 }

func (r *concurrencyCounter) Serve(_ context.Context, conn *transport.Conn) error {
	n := r.now.Add(1)
	defer r.now.Add(-1)
	for most := r.most.Load(); n > most && !r.most.CompareAndSwap(most, n); most = r.most.Load() {
	}
	<-time.After(5 * time.Millisecond) // a moment's stay
	_, err := fmt.Fprintf(conn, "hello, %v\n", conn.RemoteAddr())
	return err
}

// The program of the guide: a cap of 100, and 500 clients that come at once and stay a
// moment, while the cap is changed twice. Never are more than 100 served at once, all 500
// are served in the end, and nobody is refused or reset.
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
					t.Errorf("a client got %q, %v", line, err)
					return
				}
				served.Add(1)
			})
		}
		waitUntil(t, "a fifth is served", func() bool { return served.Load() >= int64(clients/5) })
		setCap(t, l, 30)
		waitUntil(t, "three fifths are served", func() bool { return served.Load() >= int64(clients*3/5) })
		setCap(t, l, limit)
		wg.Wait()
		if served.Load() != int64(clients) || inside.most.Load() > limit {
			t.Errorf("%d of %d clients were served, %d at once", served.Load(), clients, inside.most.Load())
		}
		rec.wait(t, ranch.ConnEnded, clients)
		if i := l.Info(); i.Accepted != uint64(clients) || i.Reasons[conns.Finished] != uint64(clients) || i.PeakConnections > limit || i.AcceptErrors != 0 {
			t.Errorf("in the end: %s", pretty(i))
		}
	})
}

var _ protocol.Protocol = (*concurrencyCounter)(nil)
