package ranch_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
)

// Connections lists the live connections, and Kill closes one.
func TestConnectionsAndKill(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		begin := time.Now()
		l, rec, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, echo.Protocol{})
		if err != nil {
			t.Fatal(err)
		}
		var all []*client
		for i := range 3 {
			v := m.newClient(t, l) // echo sends no greeting
			waitUntil(t, "the client is served", func() bool {
				cs := l.Connections()
				return len(cs) == i+1 && cs[i].Served
			})
			all = append(all, v)
		}
		cs := l.Connections()
		if len(cs) != 3 {
			t.Fatalf("got connections %v, want 3", cs)
		}
		for i, c := range cs {
			if c.Transport != m.t.Name() || c.Since.Before(begin) || !c.Counted || !c.Served || c.RemoteAddr == nil || c.Protocol != (echo.Protocol{}) {
				t.Errorf("connection %d: got %+v, want one that is served and counted", i, c)
			}
			if i > 0 && c.ID <= cs[i-1].ID {
				t.Errorf("got connection %d after %d, want the oldest first", c.ID, cs[i-1].ID)
			}
		}
		if l.Kill(conns.Query{ID: cs[1].ID}) == 0 {
			t.Fatalf("Kill(%d): got false, want true", cs[1].ID)
		}
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if e.Conn.ID() != cs[1].ID || e.Reason != conns.Killed {
			t.Errorf("connection %d: got reason %v, want %v", e.Conn.ID(), e.Reason, conns.Killed)
		}
		receive(t, "the client's connection ends", all[1].served)
		if l.Kill(conns.Query{ID: cs[1].ID}) > 0 {
			t.Error("second Kill: got true, want false")
		}
		waitActive(t, l, 2)
	})
}

// A hundred connections that are killed at once free their slots.
func TestKillMany(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		n := m.scale(100)
		l, rec := m.startListener(t, ranch.Options{MaxConnections: n}, greetAndEcho)
		for round := 1; round <= 2; round++ {
			m.servedClients(t, l, n)
			waitAllWaiting(t, l)
			var wg sync.WaitGroup
			for _, c := range l.Connections() {
				wg.Go(func() {
					if l.Kill(conns.Query{ID: c.ID}) == 0 {
						t.Errorf("Kill(%d): got false, want true", c.ID)
					}
				})
			}
			wg.Wait()
			rec.wait(t, ranch.ConnEnded, n*round)
			waitActive(t, l, 0)
			if diff := cmp.Diff(map[conns.Reason]uint64{conns.Killed: uint64(n * round)}, l.Info().Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		}
		m.servedClients(t, l, n)[0].checkEcho(t)
	})
}
