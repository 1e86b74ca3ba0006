package ranch_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"

	"goranch/ranch"
)

// newListener makes a listener that has no name in any server.
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

// run runs l in the background; what it returned is got from the channel.
func runListener(ctx context.Context, l *ranch.Listener) <-chan error {
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return done
}

// A listener that stands by itself serves until its context ends; then its connections
// are told to end, and Run returns when they are gone.
func TestRun(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := newTestListener(t, m, ranch.Options{})
		if i := l.Info(); i.Status != ranch.Starting || i.Addr != nil {
			t.Errorf("before Run: %s", pretty(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := runListener(ctx, l)
		rec.wait(t, ranch.ListenerStarted, 1)
		m.servedClients(t, l, 1)[0].checkEcho(t)
		if i := l.Info(); i.Status != ranch.Running || i.Ref != ref || i.ActiveConnections != 1 {
			t.Errorf("in Run: %s", pretty(i))
		}
		cancel()
		if err := receive(t, "Run returns", done); err != nil {
			t.Error(err)
		}
		if i := l.Info(); i.Status != ranch.Stopped || i.AllConnections != 0 || i.Terminated != 1 {
			t.Errorf("after Run: %s", pretty(i))
		}
		if err := l.Stop(); !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("stopping it again: %v", err)
		}
	})
}

// Run returns nil after a stop in order, whoever was first to ask for it.
func TestRunEndsInOrderWhoeverStopsIt(t *testing.T) {
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
					t.Fatalf("still open: %v", left)
				}
			})
		})
	}
}

// The error of the start is Run's, and the listener can be tried again.
func TestRunFailsToStart(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		first, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		there := m
		there.addr = func(testing.TB) string { return dialAddr(first) }
		l, rec := newTestListener(t, there, ranch.Options{})
		err := receive(t, "Run returns", runListener(t.Context(), l))
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("Run at a taken address: %v", err)
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

// A listener is run once.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testTransport{"fake", new(fakeTransport), memAddr}
		l, _ := newTestListener(t, m, ranch.Options{})
		done := runListener(t.Context(), l)
		synctest.Wait()
		if err := l.Run(t.Context()); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("a second Run: %v", err)
		}
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.Run(t.Context()); !errors.Is(err, ranch.ErrStopped) || errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("Run after the end: %v", err)
		}
	})
}

// A stop that comes before the start, or amid it, leaves nothing that runs.
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
			t.Fatalf("it is %s", i.Status)
		}
		if l.Addr() != nil {
			visitors := newClient(t, m.t, dialAddr(l))
			if err := receive(t, "a client is refused", visitors.served); err == nil {
				t.Fatal("somebody answers where a stopped listener was")
			}
		}
	}
}
