package pubsub_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/pubsub"
)

// Each of two connected servers delivers the other's messages once.
func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hub pubsub.MemoryHub
		srv1 := newTestServer(t, pubsub.Options{Broker: hub.Join()})
		srv2 := newTestServer(t, pubsub.Options{Broker: hub.Join()})
		a, b := srv1.client(), srv2.client()
		a.subscribe("x")
		b.subscribe("*")
		for i := range 3 {
			srv1.publish("x", strconv.Itoa(i))
			srv2.publish("x", strconv.Itoa(10+i))
		}
		for _, c := range []*testClient{a, b} {
			for i := range 3 {
				c.expect(delivered("x", strconv.Itoa(i)), delivered("x", strconv.Itoa(10+i)))
			}
		}
		srv2.listener.Stop()
		if err := srv2.Close(context.Background()); err != nil {
			t.Fatalf("Close: got %v, want no error", err)
		}
		srv1.publish("x", "9")
		a.expect(delivered("x", "9"))
		if n := srv2.Stats().Published; n != 6 {
			t.Errorf("second server: got %d messages, want 6", n)
		}
	})
}

type failingBroker struct{ pubsub.Broker }

func (failingBroker) Ordered(string) bool { return false }
func (failingBroker) Publish(context.Context, string, string, []byte) (pubsub.Position, error) {
	return pubsub.Position{}, errors.New("no route")
}
func (failingBroker) Receive(pubsub.Receiver) (func(), error) { return func() {}, nil }

// A failed broker is reported to OnError and does not fail a publish.
func TestFailedBroker(t *testing.T) {
	var got []string
	s, err := pubsub.NewServer(pubsub.Options{Broker: failingBroker{}, OnError: func(err error) { got = append(got, err.Error()) }})
	if err != nil {
		t.Fatalf("NewServer: got %v, want no error", err)
	}
	defer s.Close(context.Background())
	if n, err := s.Publish("x", "e", "", 1); n != 0 || err != nil {
		t.Errorf("Publish: got %d, %v, want 0 and no error", n, err)
	}
	if diff := cmp.Diff([]string{`topic "x": broker: no route`}, got); diff != "" {
		t.Errorf("OnError (-want +got):\n%s", diff)
	}
}
