package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/clustertest"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

// While the sessions of other nodes are away, the client connects again and keeps its session.
func TestResumeUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &clustertest.UnavailableStore{}
		opts := shell.Options{Sessions: session.Options[shell.State]{Store: store}}
		s := newTestServer(t, opts)
		c, r := s.dial(client.Options{Session: "123456"})
		result(t, c, "echo x") // until then, the resumed session may still use text
		s.stop()               // another node has the session then
		store.FailNext(2)
		s.start(opts)
		var err error
		for range 5 {
			if _, err = c.Call(t.Context(), "echo x"); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if err != nil {
			t.Errorf("call: got %v, want no error", err)
		}
		equal(t, "session", "123456", c.Session())
		equal(t, "callbacks", []string{"connected, resumed true", "shutdown", "disconnected", "connected, resumed true"}, r.take())
	})
}
