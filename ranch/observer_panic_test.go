package ranch_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"goranch/ranch"
)

// angryHandler is a log that panics, whatever it is told.
type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("no log today") }

// lockedBuffer is what a log of several goroutines is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What an observer does wrong is logged and harms nobody: not the acceptor, nor the
// connection, nor whoever stops the listener.
func TestObserverPanics(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var log lockedBuffer
		l, _ := m.startListener(t, ranch.Options{
			MaxConnections: 3,
			Logger:         slog.New(slog.NewTextHandler(&log, nil)),
			Observer:       func(ranch.Event) { panic("nobody looks") },
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
		if err := callWithTimeout(t, "the listener stops", l.Stop); err != nil {
			t.Error(err)
		}
		if got := l.Info(); got.Accepted != 12 || got.PeakConnections != 3 {
			t.Errorf("info: %s", pretty(got))
		}
		for _, want := range []string{"an observer panicked", "nobody looks", `event="connection ended"`, "observer_panic_test.go", "listener=" + ref} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not contain %q", want)
			}
		}
	})
}

// A log that panics is no reason for anything to end, nor for the observer to miss an event.
func TestLogPanics(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		rec := newRecorder()
		l, _ := m.startListener(t, ranch.Options{Logger: slog.New(panickingHandler{}), Observer: rec.observe}, greetAndEcho)
		v := m.servedClients(t, l, 1)[0]
		v.checkEcho(t)
		v.close()
		rec.wait(t, ranch.ConnEnded, 1)
		if err := callWithTimeout(t, "the listener stops", l.Stop); err != nil {
			t.Error(err)
		}
		for kind, n := range map[ranch.EventKind]int{
			ranch.ListenerStarted: 1, ranch.AcceptorStarted: 10, ranch.ConnStarted: 1,
			ranch.ConnEnded: 1, ranch.AcceptorStopped: 10, ranch.ListenerStopped: 1,
		} {
			if got := rec.count(kind); got != n {
				t.Errorf("%d events %q, not %d", got, kind, n)
			}
		}
	})
}
