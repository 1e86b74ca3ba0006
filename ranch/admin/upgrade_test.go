package admin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// The command shows the progress, without control characters, and the result.
func TestUpgrade(t *testing.T) {
	s := newTestServer(t, admin.Options{Upgrade: func(_ context.Context, progress func(string)) (admin.Upgraded, error) {
		progress("started process 7")
		progress("sessions\x1b[2J\nopened")
		return admin.Upgraded{PID: 7, Sockets: 3, Closed: []string{"a", "b"}, Duration: time.Second}, nil
	}})
	s.dial("echo")
	s.waitFor("the connection", func() bool { return s.listener("echo").Info().AllConnections == 1 })
	js := s.jsonClient()
	js.send("upgrade")
	for _, want := range []string{"started process 7\n", "sessions\\u001b[2J\\u000aopened\n"} {
		if a := js.answer(); a.Out != want {
			t.Errorf("progress: got %q, want %q", a.Out, want)
		}
	}
	want := map[string]any{"pid": 7.0, "sockets": 3.0, "connections": 2.0, "duration": 1.0, "closed": "a b"}
	if diff := cmp.Diff(want, js.answer().fields(t)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestUpgradeFails(t *testing.T) {
	cause := errors.New("the successor has failed: no such file")
	s := newTestServer(t, admin.Options{Upgrade: func(context.Context, func(string)) (admin.Upgraded, error) { return admin.Upgraded{}, cause }})
	js := s.jsonClient()
	if a := js.json("upgrade"); a.Error == nil || a.Error.Message != cause.Error() {
		t.Errorf("got %+v, want the error %v", a, cause)
	}
}

// Cancelling the command ends its context.
func TestUpgradeCancelled(t *testing.T) {
	started := make(chan struct{})
	s := newTestServer(t, admin.Options{Upgrade: func(ctx context.Context, _ func(string)) (admin.Upgraded, error) {
		close(started)
		<-ctx.Done()
		return admin.Upgraded{}, context.Cause(ctx)
	}})
	js := s.jsonClient()
	js.send("upgrade")
	<-started
	js.send("\x03")
	if a := js.answer(); a.Error == nil || !strings.Contains(a.Error.Message, "cancelled") {
		t.Errorf("got %+v, want that the command was cancelled", a)
	}
}

// There is no command without a function for it.
func TestNoUpgrade(t *testing.T) {
	for _, c := range admin.Commands(admin.Options{}) {
		if c.Name == "upgrade" {
			t.Error("got the command upgrade, want none")
		}
	}
	with := admin.Commands(admin.Options{Upgrade: func(context.Context, func(string)) (admin.Upgraded, error) { return admin.Upgraded{}, nil }})
	if !slices.ContainsFunc(with, func(c shell.Command) bool { return c.Name == "upgrade" }) {
		t.Error("got no command upgrade, want one")
	}
}
