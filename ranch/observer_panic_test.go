package ranch_test

import (
	"log/slog"
	"strings"
	"testing"

	"goranch/ranch"
)

// panickingHandler is a log handler that panics.
type panickingHandler struct{ slog.Handler }

// A panic of the observer is logged and has no other effect.
func TestObserverPanics(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var log lockedBuffer
		l, _ := m.startListener(t, ranch.Options{
			MaxConnections: 3,
			Logger:         slog.New(slog.NewTextHandler(&log, nil)),
			Observer:       func(ranch.Event) { panic("observer panic") },
		}, greetAndEcho)
		for range 3 {
			for _, v := range m.servedClients(t, l, 3) {
				v.checkEcho(t)
				v.close()
			}
			waitActive(t, l, 0)
		}
		if err := l.Suspend(); err != nil {
			t.Error(err)
		}
		if err := l.Resume(); err != nil {
			t.Error(err)
		}
		m.servedClients(t, l, 3)
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Error(err)
		}
		if got := l.Info(); got.Accepted != 12 || got.PeakConnections != 3 {
			t.Errorf("got %s, want 12 accepted and a peak of 3", pretty(got))
		}
		for _, want := range []string{"callback panicked", "observer panic", `event="connection ended"`, "observer_panic_test.go", "listener=" + ref} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("got log %s, want it to contain %q", log.String(), want)
			}
		}
	})
}

// A panic of the logger ends nothing, and the observer gets every event.
func TestLogPanics(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		rec := newRecorder()
		l, _ := m.startListener(t, ranch.Options{Logger: slog.New(panickingHandler{}), Observer: rec.observe}, greetAndEcho)
		v := m.servedClients(t, l, 1)[0]
		v.checkEcho(t)
		v.close()
		rec.wait(t, ranch.ConnEnded, 1)
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Error(err)
		}
		for kind, n := range map[ranch.EventKind]int{
			ranch.ListenerStarted: 1, ranch.AcceptorStarted: 10, ranch.ConnStarted: 1,
			ranch.ConnEnded: 1, ranch.AcceptorStopped: 10, ranch.ListenerStopped: 1,
		} {
			if got := rec.count(kind); got != n {
				t.Errorf("got %d events %q, want %d", got, kind, n)
			}
		}
	})
}
