package pubsub_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
)

// A run of the original flashbot client works unchanged.
func TestFlashbotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a, b := srv.client(), srv.client()
		a.write("<regular-socket/>\x00PING\x00<regular-socket/>\x00")
		a.subscribe("events")
		b.subscribe("events")
		srv.publish("events", `"test"`)
		a.expect(delivered("events", `"test"`))
		b.expect(delivered("events", `"test"`))
		a.request("unsubscribe", "events")
		synctest.Wait() // unsubscribe has no answer
		srv.publish("events", `{"x":[1,2]}`)
		b.expect(delivered("events", `{"x":[1,2]}`))
		time.Sleep(31 * time.Second)
		a.expect("PING")
	})
}

// A client that attaches to its session over another connection receives what was published in the
// meantime.
func TestAttach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a := srv.client()
		a.subscribe("x")
		a.subscribe("y.*")
		a.nc.Close()
		synctest.Wait()
		srv.publish("x", "1")
		srv.publish("y.z", "2")
		b := srv.client()
		b.request("attach", a.token)
		b.expect(delivered("x", "1"), delivered("y.z", "2"), "ACK")
		srv.publish("x", "3")
		b.expect(delivered("x", "3"))
		c := srv.client()
		c.request("attach", a.token)
		c.expect("ACK")
		b.expect(`{"error":"the session was attached to another connection"}`, "EOF")
		srv.publish("y.a", "4")
		c.expect(delivered("y.a", "4"))
		d := srv.client()
		d.request("attach", "123")
		d.expect(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
	})
}

// A silent client receives its heartbeats and is then closed; a client that answers them is not.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a, b := srv.client(), srv.client()
		a.subscribe("x")
		b.subscribe("x")
		start := time.Now()
		for range 10 {
			b.expect("PING")
			b.write("PONG\x00")
		}
		if d := time.Since(start); d < 10*30*time.Second || d > 10*40*time.Second {
			t.Errorf("10 heartbeats: got them in %v, want 300 s to 400 s", d)
		}
		a.expect("PING", "PING", "PING", "EOF")
		if st := srv.Stats(); st.Silent != 1 || st.Clients != 1 {
			t.Errorf("got %+v, want 1 silent and 1 connected client", st)
		}
	})
}

func TestEndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		a := srv.client()
		a.subscribe("x")
		a.subscribe("y.*")
		if n := len(srv.Sessions()); n != 1 {
			t.Errorf("got %d sessions, want 1", n)
		}
		if err := srv.EndSession(a.token); err != nil {
			t.Fatalf("EndSession: got %v, want no error", err)
		}
		a.expect(`{"error":"unknown or expired session"}`, "EOF")
		synctest.Wait()
		if err := srv.EndSession(a.token); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("second EndSession: got %v, want %v", err, session.ErrUnknown)
		}
		if st := srv.Stats(); st.Topics != 0 || st.Clients != 0 || st.Sessions.Attached+st.Sessions.Detached != 0 {
			t.Errorf("got %+v, want no topics, clients and sessions", st)
		}
	})
}

// An expired session is removed from its topics, and its buffered messages are lost.
func TestExpiredSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{SessionTTL: time.Minute, Retain: -1})
		a := srv.client()
		a.subscribe("x")
		a.nc.Close()
		synctest.Wait()
		if n := srv.Subscribers("x"); n != 1 {
			t.Errorf("got %d subscribers, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		if st := srv.Stats(); st.Topics != 0 || st.Sessions.Expired != 1 {
			t.Errorf("got %+v, want no topics and 1 expired session", st)
		}
		b := srv.client()
		b.request("attach", a.token)
		b.expect(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
	})
}

func TestOptions(t *testing.T) {
	_, err := pubsub.NewServer(pubsub.Options{MaxFrame: -1, MaxTopics: -2, Queue: protocol.QueueOptions{Overflow: protocol.Block, MaxBytes: -1}})
	for _, want := range []string{"MaxFrame -1", "MaxTopics -2", "Queue.Overflow block", "Queue.MaxBytes -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewServer: got %v, want it to contain %q", err, want)
		}
	}
}
