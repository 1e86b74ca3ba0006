package ranch_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// Each time limit ends a connection that exceeds it, not before the limit and at most a quarter
// later.
func TestLimitsOfTime(t *testing.T) {
	const limit = 4 * time.Second
	// what the client does once a second
	type client struct{ sends, reads bool }
	for _, c := range []struct {
		name   string
		opts   ranch.Options
		client client
		want   conns.Reason // Finished: it stays open
	}{
		{"idle", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{}, conns.IdleTimeout},
		{"not idle: it sends", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{sends: true}, conns.Finished},
		{"not idle: it gets", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{reads: true}, conns.Finished},
		{"nothing read", ranch.Options{Limits: conns.Limits{ReadTimeout: limit}}, client{reads: true}, conns.ReadTimeout},
		{"something read", ranch.Options{Limits: conns.Limits{ReadTimeout: limit}}, client{sends: true}, conns.Finished},
		{"nothing written", ranch.Options{Limits: conns.Limits{WriteTimeout: limit}}, client{sends: true}, conns.WriteTimeout},
		{"something written", ranch.Options{Limits: conns.Limits{WriteTimeout: limit}}, client{reads: true}, conns.Finished},
		{"too old", ranch.Options{Limits: conns.Limits{Lifetime: limit}}, client{sends: true, reads: true}, conns.Expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				// Writes every second if the client reads; reads all the time.
				serve := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
					var wg sync.WaitGroup
					defer wg.Wait()
					if c.client.reads {
						wg.Go(func() { everySecond(ctx, conn) })
					}
					_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
					return err
				})
				l, rec := startListener(t, f, c.opts, serve)
				begin := time.Now()
				nc, err := f.Dial(t.Context(), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				go io.Copy(io.Discard, nc)
				if c.client.sends {
					go everySecond(t.Context(), nc)
				}
				if c.want == conns.Finished {
					time.Sleep(10 * limit)
					if n := rec.count(ranch.ConnEnded); n != 0 {
						t.Errorf("got %+v, want an open connection", rec.ofKind(ranch.ConnEnded))
					}
					return
				}
				e := rec.wait(t, ranch.ConnEnded, 1)[0]
				if e.Reason != c.want {
					t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, c.want)
				}
				if took := time.Since(begin); took < limit || took > limit+limit/4 {
					t.Errorf("got an end after %v, want %v", took, limit)
				}
			})
		})
	}
}

// everySecond writes until ctx ends or it fails.
func everySecond(ctx context.Context, w io.Writer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte(".")); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A protocol that ignores the end of a limit is closed after the ShutdownTimeout.
func TestLimitIsEnforced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		begin := time.Now()
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{Lifetime: time.Second}, ShutdownTimeout: 3 * time.Second},
			protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
				for {
					if _, err := conn.Write([]byte(".")); err != nil {
						return err
					}
				}
			}))
		nc, err := f.Dial(t.Context(), dialAddr(l))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if took := time.Since(begin); e.Reason != conns.Expired || took < 4*time.Second || took > 5*time.Second {
			t.Errorf("got reason %v, %v after %v, want %v after 4s", e.Reason, e.Err, took, conns.Expired)
		}
	})
}

// Lifetimes are shortened at random within the LifetimeJitter.
func TestLifetimeJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		const n = 50
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{Lifetime: time.Hour, LifetimeJitter: 0.5}}, greetAndEcho)
		servedClients(t, f, dialAddr(l), n)
		seen := map[time.Duration]bool{}
		time.Sleep(time.Hour + time.Minute)
		for _, e := range rec.wait(t, ranch.ConnEnded, n) {
			if e.Duration < time.Hour/2 || e.Duration > time.Hour+time.Second {
				t.Errorf("got a lifetime of %v, want 30m to 1h", e.Duration)
			}
			seen[e.Duration.Truncate(time.Minute)] = true
		}
		if len(seen) < n/4 {
			t.Errorf("got ends in %d different minutes, want at least %d", len(seen), n/4)
		}
	})
}

// A connection whose reads end at deadlines without data is idle.
func TestIdleWhilePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{IdleTimeout: 10 * time.Second}}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			for ctx.Err() == nil {
				conn.SetReadDeadline(time.Now().Add(time.Second))
				conn.Read(make([]byte, 1))
			}
			return context.Cause(ctx)
		}))
		begin := time.Now()
		newClient(t, f, dialAddr(l))
		if got := waitReasons(t, rec, 1)[0]; got != conns.IdleTimeout {
			t.Errorf("got reason %v, want %v", got, conns.IdleTimeout)
		}
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("got %v, want at most 12s", took)
		}
	})
}

// Idle time begins after the handshake.
func TestIdleBeginsAfterTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shake, idle = 4 * time.Second, 2 * time.Second
		f := &fakeTransport{handshake: func(_ context.Context, nc net.Conn) (net.Conn, error) { time.Sleep(shake); return nc, nil }}
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{IdleTimeout: idle}}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			_, err := conn.Read(make([]byte, 1))
			return err
		}))
		newClient(t, f, dialAddr(l))
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if e.Reason != conns.IdleTimeout || e.Duration < shake+idle || e.Duration > shake+2*idle {
			t.Errorf("got reason %v after %v, want %v after %v", e.Reason, e.Duration, conns.IdleTimeout, shake+idle)
		}
	})
}
