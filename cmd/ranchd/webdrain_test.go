package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The WebSockets of browsers end over --drain-spread too, with a status after which they connect
// again.
func TestDrainSpreadOfWebSockets(t *testing.T) {
	t.Parallel()
	const n = 20
	p := startProgram(t, "--listen", "w=web+tcp://127.0.0.1:0", "--admin", "none", "--quiet", "--drain-spread", "2s", "--shutdown-timeout", "20s")
	addr := p.log.addr(t, "w")
	ends := make(chan time.Time, n)
	for range n {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		if _, _, err := ws.Read(t.Context()); err != nil { // the greeting
			t.Fatal(err)
		}
		go func() {
			_, _, err := ws.Read(t.Context())
			if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
				t.Errorf("got %v, want status %v", err, websocket.StatusGoingAway)
			}
			ends <- time.Now()
		}()
	}
	p.signals <- syscall.SIGTERM
	var first, last time.Time
	for range n {
		select {
		case last = <-ends:
		case <-time.After(timeout):
			t.Fatalf("got no end of a WebSocket; log:\n%s", &p.log)
		}
		if first.IsZero() {
			first = last
		}
	}
	if d := last.Sub(first); d < 200*time.Millisecond {
		t.Errorf("got all ends within %v, want them over the spread", d)
	}
	p.wantExit(t, exitOK)
}
