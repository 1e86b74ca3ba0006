package ranch_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/ranch"
)

// Connections are accepted at the rate, and none is refused.
func TestAcceptRate(t *testing.T) {
	for _, sockets := range []int{1, 2} {
		t.Run(fmt.Sprint(sockets), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				begin := time.Now()
				_, rec := startListener(t, &sharingTransport{f}, ranch.Options{
					NumListenSockets: sockets, Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 10, Burst: 5}},
				}, greetAndEcho)
				time.Sleep(time.Minute) // tokens beyond the burst are not saved
				const n = 105
				for i := range n {
					newClient(t, f, f.all[i%sockets].Addr().String())
				}
				rec.wait(t, ranch.ConnStarted, n)
				took := time.Since(begin) - time.Minute
				if took < 9800*time.Millisecond || took > 10*time.Second+100*time.Millisecond {
					t.Errorf("got %d connections accepted in %v, want 10s", n, took)
				}
			})
		})
	}
}

// A new AcceptRate applies at once, also to acceptors that wait for the old one.
func TestAcceptRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 1e-6}}}, greetAndEcho)
		servedClients(t, f, dialAddr(l), 1)
		v := newClient(t, f, dialAddr(l))
		time.Sleep(30 * time.Second)
		if !v.waiting() {
			t.Fatal("got a client served above the rate, want none")
		}
		if _, err := l.SetOptions(nil, ranch.Options{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		v.waitServed(t)
		if took := time.Since(begin); took != 0 {
			t.Errorf("got served after %v, want 0", took)
		}
	})
}
