package ranch_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"

	"goranch/ranch"
)

// newTestListener returns a listener that has no name in any server.
func newTestListener(t testing.TB, m testTransport, opts ranch.Options) (*ranch.Listener, *recorder) {
	t.Helper()
	rec := newRecorder()
	opts.Addr, opts.Logger, opts.Observer = m.addr(t), discardLogger, rec.observe
	l, err := ranch.NewListener(ref, m.t, opts, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

// runListener runs l in the background and returns a channel for the error of Run.
func runListener(ctx context.Context, l *ranch.Listener) <-chan error {
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return done
}

// A listener without a server serves until its context ends; then it stops, and Run returns.
func TestRun(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := newTestListener(t, m, ranch.Options{})
		if i := l.Info(); i.Status != ranch.Starting || i.Addr != nil {
			t.Errorf("before Run: got %s, want a listener that is starting, without an address", pretty(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := runListener(ctx, l)
		rec.wait(t, ranch.ListenerStarted, 1)
		m.servedClients(t, l, 1)[0].checkEcho(t)
		if i := l.Info(); i.Status != ranch.Running || i.Ref != ref || i.ActiveConnections != 1 {
			t.Errorf("in Run: got %s, want a running listener with 1 connection", pretty(i))
		}
		cancel()
		if err := receive(t, "Run returns", done); err != nil {
			t.Error(err)
		}
		if i := l.Info(); i.Status != ranch.Stopped || i.AllConnections != 0 || i.Terminated != 1 {
			t.Errorf("after Run: got %s, want a stopped listener with 1 terminated connection", pretty(i))
		}
		if err := l.Stop(); !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("second stop: got %v, want %v", err, ranch.ErrStopped)
		}
	})
}

// Run returns nil after an orderly stop, whichever call stops the listener first.
func TestRunReturnsNilAfterAnyStop(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(l *ranch.Listener, cancel func())
	}{
		{"the context", func(l *ranch.Listener, cancel func()) { cancel() }},
		{"Stop", func(l *ranch.Listener, cancel func()) { go l.Stop() }},
		{"Drain", func(l *ranch.Listener, cancel func()) { go l.Drain(context.Background()) }},
		{"Stop, then the context", func(l *ranch.Listener, cancel func()) { go l.Stop(); synctest.Wait(); cancel() }},
		{"the context, then Stop", func(l *ranch.Listener, cancel func()) { cancel(); synctest.Wait(); go l.Stop() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := testTransport{"fake", new(fakeTransport), memAddr}
				l, _ := newTestListener(t, m, ranch.Options{ShutdownTimeout: ranch.Infinity})
				busy := newBlockingProtocol(t)
				l.SetProtocol(busy)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := runListener(ctx, l)
				synctest.Wait()
				m.servedClients(t, l, 3)
				c.stop(l, cancel)
				busy.unblock()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if left := m.t.(*fakeTransport).openAddrs(); left != nil {
					t.Fatalf("got open addresses %v, want none", left)
				}
			})
		})
	}
}

// Run returns the error of the start, and can be called again.
func TestRunFailsToStart(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		first, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		there := m
		there.addr = func(testing.TB) string { return dialAddr(first) }
		l, rec := newTestListener(t, there, ranch.Options{})
		err := receive(t, "Run returns", runListener(t.Context(), l))
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("got %v, want %v", err, syscall.EADDRINUSE)
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := runListener(ctx, l)
		rec.wait(t, ranch.ListenerStarted, 1)
		m.servedClients(t, l, 1)[0].checkEcho(t)
		cancel()
		if err := receive(t, "Run returns", done); err != nil {
			t.Error(err)
		}
	})
}

// A listener runs once.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testTransport{"fake", new(fakeTransport), memAddr}
		l, _ := newTestListener(t, m, ranch.Options{})
		done := runListener(t.Context(), l)
		synctest.Wait()
		if err := l.Run(t.Context()); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("second Run: got %v, want %v", err, ranch.ErrAlreadyStarted)
		}
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Run(t.Context()); !errors.Is(err, ranch.ErrStopped) || errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("Run after the stop: got %v, want %v", err, ranch.ErrStopped)
		}
	})
}

// A stop before the start or during it leaves nothing running.
func TestStopRacesRun(t *testing.T) {
	m := testTransports()[0]
	for range 100 {
		l, _ := newTestListener(t, m, ranch.Options{})
		done := runListener(t.Context(), l)
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "Run returns", done); err != nil && !errors.Is(err, ranch.ErrStopped) {
			t.Fatal(err)
		}
		if i := l.Info(); i.Status != ranch.Stopped {
			t.Fatalf("got status %s, want %s", i.Status, ranch.Stopped)
		}
		if l.Addr() != nil {
			refused := newClient(t, m.t, dialAddr(l))
			if err := receive(t, "the client is refused", refused.served); err == nil {
				t.Fatal("got a client served at the address of a stopped listener, want none")
			}
		}
	}
}
