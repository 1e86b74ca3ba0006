package ranch_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// untilAsked serves until it is asked to stop.
var untilAsked = protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
	conn.Write([]byte{greeting})
	<-ctx.Done()
	return context.Cause(ctx)
})

// During the DrainDelay a listener accepts connections and says that it is draining. Afterwards it
// asks them to stop, over the DrainSpread.
func TestDrainDelayAndSpread(t *testing.T) {
	const delay, spread = 10 * time.Second, time.Minute
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{DrainDelay: delay, DrainSpread: spread}, untilAsked)
		servedClients(t, f, dialAddr(l), 50)
		began := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- l.Drain(context.Background()) }()
		synctest.Wait()
		want := &ranch.DrainInfo{Began: began, AcceptUntil: began.Add(delay)}
		if i := l.Info(); i.Status != ranch.Draining || !cmp.Equal(i.Drain, want) {
			t.Errorf("at the start: got %s and %+v, want %s and %+v", i.Status, i.Drain, ranch.Draining, want)
		}
		for _, err := range []error{l.Suspend(), l.Resume()} {
			if !errors.Is(err, ranch.ErrStopped) || !strings.Contains(err.Error(), "draining") {
				t.Errorf("Suspend or Resume of a draining listener: got %v, want %v", err, ranch.ErrStopped)
			}
		}
		time.Sleep(delay - time.Second)
		servedClients(t, f, dialAddr(l), 50)
		if n := rec.count(ranch.ConnEnded); n != 0 {
			t.Errorf("during the delay: got %d connections ended, want 0", n)
		}
		time.Sleep(time.Second + spread/2)
		synctest.Wait()
		i := l.Info()
		want = &ranch.DrainInfo{Began: began, AcceptUntil: began.Add(delay), AskUntil: began.Add(delay + spread), Connections: 100, Asked: 100 - i.AllConnections}
		if i.Status != ranch.Stopping || !cmp.Equal(i.Drain, want) || i.Drain.Asked < 20 || i.Drain.Asked > 80 {
			t.Errorf("after half of the spread: got %s and %+v, want %s and %+v, about half of them asked", i.Status, i.Drain, ranch.Stopping, want)
		}
		if _, err := f.Dial(t.Context(), dialAddr(l)); err == nil {
			t.Error("dial after the delay: got a connection, want an error")
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < delay+spread*3/4 || took > delay+spread {
			t.Errorf("got a drain of %v, want at most %v and little less", took, delay+spread)
		}
		if e := rec.ofKind(ranch.ListenerDraining); len(e) != 1 || e[0].Duration != delay {
			t.Errorf("got events %+v, want one %q", e, ranch.ListenerDraining)
		}
		if i := l.Info(); i.Reasons[conns.Shutdown] != 100 || i.Drain.Asked != 100 {
			t.Errorf("got ends %v and %+v, want 100 %q and asked", i.Reasons, i.Drain, conns.Shutdown)
		}
	})
}

// A drain without delay and spread is as before, and a suspended listener has no delay.
func TestDrainOfSuspendedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{DrainDelay: time.Hour}, untilAsked)
		servedClients(t, f, dialAddr(l), 3)
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := l.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("got a drain of %v, want none", took)
		}
	})
}

// A drain that is cancelled, or that Stop or another drain overrides, ends early, in its delay as
// well as in its spread.
func TestDrainEndsEarly(t *testing.T) {
	phases := map[string]ranch.Options{"delay": {DrainDelay: time.Hour}, "spread": {DrainSpread: 1000 * time.Hour}}
	for _, tc := range []struct {
		name  string
		p     protocol.Protocol
		grace time.Duration
		do    func(l *ranch.Listener, cancel context.CancelFunc) error
		want  conns.Reason // of all but a few connections, which a spread may ask before
	}{
		{"the drain is cancelled", writeUntilClosed, time.Hour, func(_ *ranch.Listener, cancel context.CancelFunc) error { cancel(); return ranch.ErrStopped }, conns.Aborted},
		{"Stop", untilAsked, time.Hour, func(l *ranch.Listener, _ context.CancelFunc) error { return l.Stop() }, conns.Shutdown},
		{"Stop, and the connections do not end", writeUntilClosed, ranch.BrutalKill, func(l *ranch.Listener, _ context.CancelFunc) error { return l.Stop() }, conns.Aborted},
		{"a drain that is cancelled", writeUntilClosed, time.Hour, func(l *ranch.Listener, _ context.CancelFunc) error {
			ctx, cancel := context.WithCancel(context.Background())
			go cancel()
			return l.Drain(ctx)
		}, conns.Aborted},
	} {
		for phase, opts := range phases {
			t.Run(tc.name+" in the "+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := new(fakeTransport)
					opts.ShutdownTimeout = tc.grace
					l, _ := startListener(t, f, opts, tc.p)
					servedClients(t, f, dialAddr(l), 10)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					drained := make(chan error, 1)
					go func() { drained <- l.Drain(ctx) }()
					synctest.Wait()
					began := time.Now()
					if err := tc.do(l, cancel); !errors.Is(err, ranch.ErrStopped) {
						t.Errorf("got %v, want %v", err, ranch.ErrStopped)
					}
					if err := <-drained; err != nil {
						t.Errorf("Drain: got %v, want nil", err)
					}
					if took := time.Since(began); took != 0 {
						t.Errorf("got %v until the end, want none", took)
					}
					if n := l.Info().Reasons[tc.want]; n != 10 {
						t.Errorf("got ends %v, want 10 %q", l.Info().Reasons, tc.want)
					}
				})
			})
		}
	}
}

// End asks connections to stop, and closes those that remain after the ShutdownTimeout. The
// listener goes on.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{ShutdownTimeout: 10 * time.Second}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.SetLabel("user", "ann")
			if conn.ID()%2 == 0 {
				return untilAsked(ctx, conn)
			}
			return writeUntilClosed(ctx, conn)
		}))
		servedClients(t, f, dialAddr(l), 10)
		began := time.Now()
		if n := l.End(conns.Query{Match: func(i *conns.Info) bool { return i.Labels[0].Value == "ann" }}); n != 10 {
			t.Errorf("End: got %d, want 10", n)
		}
		synctest.Wait()
		if ends := rec.ofKind(ranch.ConnEnded); len(ends) != 5 {
			t.Errorf("at once: got %d ends, want 5", len(ends))
		}
		for _, e := range rec.wait(t, ranch.ConnEnded, 10) {
			if labels := e.Conn.Labels(); e.Reason != conns.EndRequested || len(labels) != 1 {
				t.Errorf("got reason %q and labels %v, want %q and one label", e.Reason, labels, conns.EndRequested)
			}
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("got the last end after %v, want 10s and at most 2s more", took)
		}
		servedClients(t, f, dialAddr(l), 1)
	})
}
