package pubsub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/pubsub"
	"goranch/ranch"
)

// The login phase ends at the first request; heartbeats are none.
func TestLoginPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		if _, err := srv.listener.ChangeOptions(func(o *ranch.Options) { o.LoginTimeout = 20 * time.Second }); err != nil {
			t.Fatal(err)
		}
		silent, subscriber := srv.client(), srv.client()
		silent.write("PING\x00PONG\x00")
		subscriber.write(`{"action":"subscribe","data":"x"}` + "\x00")
		synctest.Wait()
		if got := srv.listener.Info().Unestablished; got != 1 {
			t.Errorf("got %d in the login phase, want 1", got)
		}
		time.Sleep(30 * time.Second)
		if i := srv.listener.Info(); i.Reasons[conns.LoginTimeout] != 1 || i.AllConnections != 1 {
			t.Errorf("got %+v, want one connection left and one login timeout", i)
		}
	})
}

// A client that sends the parts of a frame too slowly is ended; one that subscribes and is idle is
// not.
func TestMinReceiveRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		if _, err := srv.listener.ChangeOptions(func(o *ranch.Options) { o.MinReceiveRate = 100 }); err != nil {
			t.Fatal(err)
		}
		slow, subscriber := srv.client(), srv.client()
		subscriber.write(`{"action":"subscribe","data":"x"}` + "\x00")
		for range 4 {
			slow.write("{")
			time.Sleep(3 * time.Second)
		}
		synctest.Wait()
		if i := srv.listener.Info(); i.Reasons[conns.ReceivedTooSlowly] != 1 || i.AllConnections != 1 {
			t.Errorf("got %+v, want one connection left and one that was too slow", i)
		}
	})
}
