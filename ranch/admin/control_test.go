package admin_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

// "all" excludes the listener of the shell and the protected listeners.
func TestSuspendAll(t *testing.T) {
	s := newTestServer(t, admin.Options{Protected: []string{"protected"}})
	s.start("protected", protocol.Func(func(context.Context, *transport.Conn) error { return nil }))
	js := s.jsonClient()
	for _, step := range []struct {
		request string
		want    map[string]ranch.Status
	}{
		{"suspend all", map[string]ranch.Status{"echo": ranch.Suspended, "protected": ranch.Running, "shell": ranch.Running}},
		{"resume all", map[string]ranch.Status{"echo": ranch.Running, "protected": ranch.Running, "shell": ranch.Running}},
		{"suspend protected", map[string]ranch.Status{"echo": ranch.Running, "protected": ranch.Suspended, "shell": ranch.Running}},
		{"suspend shell", map[string]ranch.Status{"echo": ranch.Running, "protected": ranch.Suspended, "shell": ranch.Suspended}},
		{"resume shell", map[string]ranch.Status{"echo": ranch.Running, "protected": ranch.Suspended, "shell": ranch.Running}},
	} {
		rows := js.json(step.request).rows(t)
		if len(rows) != 1 {
			t.Errorf("%s: got rows %v, want 1", step.request, rows)
		}
		got := map[string]ranch.Status{}
		for _, l := range s.server.Listeners() {
			got[l.Ref()] = l.Info().Status
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", step.request, diff)
		}
	}
}

// writeForever is a protocol that does not end when it is asked to stop.
var writeForever = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
})

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		s.start("busy", writeForever)
		js := s.jsonClient()
		go io.Copy(io.Discard, s.dial("busy"))
		s.dial("echo")
		synctest.Wait()
		js.send("drain --timeout 2500ms all")
		for range 2 {
			if a := js.answer(); a.Out != "1 connection live\n" {
				t.Errorf("report: got %+v, want 1 connection live", a)
			}
		}
		got := js.answer().fields(t)
		if got["drained"] != 2.0 || got["connections"] != 2.0 || got["closed"] != 1.0 {
			t.Errorf("got %v, want 2 listeners drained, 2 connections, 1 closed", got)
		}
		if diff := cmp.Diff([]string{"shell"}, s.listenerNames()); diff != "" {
			t.Errorf("listeners: (-want +got):\n%s", diff)
		}
	})
}

// With --watch the drain shows its progress: accepting, asking, ended. Another operator can watch
// it.
func TestDrainWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		for range 4 {
			s.dial("echo")
		}
		js, other := s.jsonClient(), s.jsonClient()
		synctest.Wait()
		js.send("drain --delay 2500ms --spread 10s --timeout 1s --watch echo")
		synctest.Wait()
		other.send("drain --watch")
		for _, c := range []*client{js, other} {
			statuses, last := []string{}, map[string]any{}
			for {
				a := c.answer()
				if !a.Frame {
					if a.Error != nil {
						t.Errorf("got %+v, want no error", a.Error)
					}
					break
				}
				last = a.rows(t)[0]
				// The first frame may precede the drain.
				if status := last["status"].(string); status != "running" && (len(statuses) == 0 || statuses[len(statuses)-1] != status) {
					statuses = append(statuses, status)
				}
				if share := last["progress"].(float64); last["status"] == "stopping" && share != 1-last["live"].(float64)/4 {
					t.Errorf("got %v, want the progress by live connections", last)
				}
			}
			if diff := cmp.Diff([]string{"draining", "stopping", "stopped"}, statuses); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			want := map[string]any{"listener": "echo", "status": "stopped", "connections": 4.0, "asked": 4.0, "live": 0.0, "progress": 1.0, "left": 0.0}
			if diff := cmp.Diff(want, last); diff != "" {
				t.Errorf("last frame (-want +got):\n%s", diff)
			}
		}
	})
}

// Cancelling the command does not cancel the drain.
func TestDrainCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		s.start("busy", writeForever)
		js, l := s.jsonClient(), s.listener("busy")
		go io.Copy(io.Discard, s.dial("busy"))
		synctest.Wait()
		js.send("drain --timeout 1h busy")
		synctest.Wait()
		js.cancel()
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" || !strings.Contains(a.Error.Message, "the drain continues") {
			t.Errorf("got %+v, want the error cancelled", a)
		}
		synctest.Wait()
		time.Sleep(50 * time.Minute)
		if i := l.Info(); i.Status != ranch.Stopping || i.AllConnections != 1 {
			t.Errorf("before the timeout: got status %s and %d connections, want stopping and 1", i.Status, i.AllConnections)
		}
		time.Sleep(2 * time.Hour)
		if i := l.Info(); i.Status != ranch.Stopped {
			t.Errorf("after the timeout: got status %s, want stopped", i.Status)
		}
	})
}

func TestGC(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	if got := s.jsonClient().json("gc").fields(t); got["before"] == 0.0 || got["after"] == 0.0 {
		t.Errorf("got %v, want the memory before and after", got)
	}
}
