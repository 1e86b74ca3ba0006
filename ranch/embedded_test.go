package ranch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"goranch/ranch"
)

// newListener makes a listener that has no name in any server.
func newListener(t testing.TB, m medium, opts ranch.Options) (*ranch.Listener, *recorder) {
	t.Helper()
	rec := newRecorder()
	opts.Addr, opts.Logger, opts.Observer = m.addr(t), quiet, rec.observe
	l, err := ranch.NewListener(ref, m.t, opts, answer)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

// run runs l in the background; what it returned is got from the channel.
func run(ctx context.Context, l *ranch.Listener) <-chan error {
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return done
}

// A listener that stands by itself serves until its context ends; then its connections
// are told to end, and Run returns when they are gone.
func TestRun(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, rec := newListener(t, m, ranch.Options{})
		if i := l.Info(); i.Status != ranch.Starting || i.Addr != nil {
			t.Errorf("before Run: %s", pretty(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := run(ctx, l)
		rec.wait(t, ranch.ListenerStarted, 1)
		m.guests(t, l, 1)[0].works(t)
		if i := l.Info(); i.Status != ranch.Running || i.Ref != ref || i.ActiveConnections != 1 {
			t.Errorf("in Run: %s", pretty(i))
		}
		cancel()
		if err := await(t, "Run returns", done); err != nil {
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
				m := medium{"fake", new(fake), anyName}
				l, _ := newListener(t, m, ranch.Options{ShutdownTimeout: ranch.Infinity})
				busy := newDeaf(t)
				l.SetProtocol(busy)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := run(ctx, l)
				synctest.Wait()
				m.guests(t, l, 3)
				c.stop(l, cancel)
				busy.free()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if left := m.t.(*fake).left(); left != nil {
					t.Fatalf("still open: %v", left)
				}
			})
		})
	}
}

// The error of the start is Run's, and the listener can be tried again.
func TestRunFailsToStart(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		first, _ := m.start(t, ranch.Options{}, answer)
		there := m
		there.addr = func(testing.TB) string { return dialAddr(first) }
		l, rec := newListener(t, there, ranch.Options{})
		err := await(t, "Run returns", run(t.Context(), l))
		if !errors.Is(err, ranch.ErrAddrInUse) {
			t.Fatalf("Run at a taken address: %v", err)
		}
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := run(ctx, l)
		rec.wait(t, ranch.ListenerStarted, 1)
		m.guests(t, l, 1)[0].works(t)
		cancel()
		if err := await(t, "Run returns", done); err != nil {
			t.Error(err)
		}
	})
}

// A listener is run once.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := medium{"fake", new(fake), anyName}
		l, _ := newListener(t, m, ranch.Options{})
		done := run(t.Context(), l)
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
	m := media()[0]
	for range 100 {
		l, _ := newListener(t, m, ranch.Options{})
		done := run(t.Context(), l)
		if err := finish(t, "Stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		if err := await(t, "Run returns", done); err != nil && !errors.Is(err, ranch.ErrStopped) {
			t.Fatal(err)
		}
		if i := l.Info(); i.Status != ranch.Stopped {
			t.Fatalf("it is %s", i.Status)
		}
		if l.Addr() != nil {
			visitors := visit(t, m.t, dialAddr(l))
			if err := await(t, "a client is refused", visitors.served); err == nil {
				t.Fatal("somebody answers where a stopped listener was")
			}
		}
	}
}
