package shell

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestEarlyInterrupt sends Ctrl-C together with the command, so that it may arrive before the
// worker has made the context of the command.
func TestEarlyInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := Method("wait", "", func(ctx context.Context, _ struct{}) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		})
		c := newTestServer(t, Options{Commands: []Command{wait}}).dial()
		for range 200 {
			c.ask("wait\n\x03", "error: cancelled")
		}
	})
}
