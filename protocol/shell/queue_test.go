package shell

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Requests that wait for a running command take a bounded number of bytes: beyond it the connection
// is not read. All are answered, in order.
func TestQueuedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		hold := Command{Name: "hold", Role: Viewer, Run: func(context.Context, *Call) error { <-gate; return nil }}
		srv := newTestServer(t, Options{Commands: []Command{say(), hold}})
		c := srv.dial()
		c.SetDeadline(time.Time{})
		var all, want strings.Builder
		all.WriteString("hold\n")
		for i := range 30 {
			line := fmt.Sprint(i, strings.Repeat("x", 8000))
			fmt.Fprintf(&all, "say:%s\n", line)
			fmt.Fprintf(&want, "%s\n", line)
		}
		go func() {
			c.Write([]byte(all.String()))
			c.closeWrite()
		}()
		synctest.Wait()
		bytes := 0
		srv.runners.Range(func(_, v any) bool {
			for _, req := range v.(*runner).queue {
				bytes += len(req.text)
			}
			return true
		})
		if bytes < maxQueuedBytes || bytes > maxQueuedBytes+8<<10 {
			t.Errorf("got %d bytes queued, want %d and at most one request more", bytes, maxQueuedBytes)
		}
		close(gate)
		c.expectEnd(want.String())
	})
}
