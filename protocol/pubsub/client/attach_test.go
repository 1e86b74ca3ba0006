package client_test

import (
	"testing"
	"testing/synctest"

	"goranch/internal/clustertest"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

// While the sessions of other nodes are away, the client connects again and keeps its session.
func TestAttachUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &clustertest.UnavailableStore{}
		srv := newTestServer(t, pubsub.Options{Store: store})
		connected := make(chan client.ConnectInfo, 2)
		opts := client.Options{Transport: srv.mem, Addr: "topics", Token: "123456",
			OnConnect: func(i client.ConnectInfo) { connected <- i }}
		c, err := client.Dial(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		<-connected
		srv.stop() // another node has the session then
		store.FailNext(2)
		srv.start(pubsub.Options{Store: store})
		if got := <-connected; !got.Resumed {
			t.Errorf("connected again: got %+v, want the session resumed", got)
		}
		if got := c.Token(); got != "123456" {
			t.Errorf("token: got %s, want that of the earlier session", got)
		}
	})
}
