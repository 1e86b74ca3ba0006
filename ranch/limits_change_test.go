package ranch_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// When the cap is lowered below the number of connections, clients are refused and acceptors do not
// spin.
func TestRefuseWhenLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 3, RefuseAfter: -1}, greetAndEcho)
		servedClients(t, f, dialAddr(l), 3)
		if err := l.SetMaxConnections(1); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			newClient(t, f, dialAddr(l))
			if got := waitReasons(t, rec, n+1)[n]; got != conns.RefusedAtCap {
				t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
			}
		}
		synctest.Wait() // does not return while acceptors spin
	})
}

// Setting the same cap again, or another option, evicts no more connections than those that are
// asked to stop already.
func TestEvictOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		opts := ranch.Options{MaxConnections: 10, Evict: conns.EvictOldest, ShutdownTimeout: 10 * time.Second}
		var asked atomic.Int32
		slow := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.Write([]byte("+"))
			<-ctx.Done()
			asked.Add(1)
			conn.NetConn().Read(make([]byte, 1)) // until it is closed
			for {
				if _, err := conn.Write([]byte(".")); err != nil {
					return context.Cause(ctx)
				}
			}
		})
		l, rec := startListener(t, f, opts, slow)
		servedClients(t, f, dialAddr(l), 10)
		opts.MaxConnections = 6
		for range 3 {
			if _, err := l.SetOptions(nil, opts); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := asked.Load(); n != 4 {
			t.Errorf("got %d connections asked to stop, want 4", n)
		}
		if err := l.SetMaxConnections(5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := asked.Load(); n != 5 {
			t.Errorf("got %d connections asked to stop, want 5", n)
		}
		for _, got := range waitReasons(t, rec, 5) {
			if got != conns.Evicted {
				t.Errorf("got reason %v, want %v", got, conns.Evicted)
			}
		}
		waitActive(t, l, 5)
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

// customRejecter calls a function instead of sending a rejection message.
type customRejecter struct {
	protocol.Protocol
	refuse func()
}

func (b customRejecter) Refuse(context.Context, *transport.Conn, error) { b.refuse() }

// A refused connection is closed and counted, whatever Refuse does.
func TestFaultyRefuse(t *testing.T) {
	for name, do := range map[string]func(){"panics": func() { panic("test") }, "ends its goroutine": runtime.Goexit, "is silent": func() {}} {
		t.Run(name, func(t *testing.T) {
			f := new(fakeTransport)
			l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: -1}, customRejecter{greetAndEcho, do})
			servedClients(t, f, dialAddr(l), 1)
			nc, err := f.Dial(t.Context(), dialAddr(l))
			if err != nil {
				t.Fatal(err)
			}
			nc.SetReadDeadline(time.Now().Add(testTimeout))
			if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read: got %v, want EOF", err)
			}
			if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAtCap {
				t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
			}
		})
	}
}

// A Refuse that does not return does not keep the listener from stopping; the error names it.
func TestStuckRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		release := make(chan struct{})
		l, err := new(ranch.Server).StartListener(ref, f, ranch.Options{MaxConnections: 1, RefuseAfter: -1, Logger: discardLogger},
			customRejecter{greetAndEcho, func() { <-release }})
		if err != nil {
			t.Fatal(err)
		}
		servedClients(t, f, dialAddr(l), 1)
		newClient(t, f, dialAddr(l))
		synctest.Wait()
		begin := time.Now()
		if err := l.Stop(); err == nil || !strings.Contains(err.Error(), "Refuse has not returned") || time.Since(begin) > 10*time.Second {
			t.Errorf("Stop: got %v after %v, want an error that names Refuse", err, time.Since(begin))
		}
		close(release)
	})
}

// A new AcceptRate applies at once, also to acceptors that wait for the old one.
func TestAcceptRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 1e-6}}}, greetAndEcho)
		servedClients(t, f, dialAddr(l), 1)
		v := newClient(t, f, dialAddr(l))
		time.Sleep(30 * time.Second)
		if !v.waiting() {
			t.Fatal("a client was served above the rate")
		}
		if _, err := l.SetOptions(nil, ranch.Options{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		v.waitServed(t)
		if took := time.Since(begin); took != 0 {
			t.Errorf("got served after %v, want 0", took)
		}
	})
}

// KeepClosed cannot be changed, and the map of alarms is copied.
func TestSetOptionsKeepsFixedOptions(t *testing.T) {
	alarms := map[string]ranch.Alarm{"a": {Connections: 1000}}
	l, _ := startListener(t, new(fakeTransport), ranch.Options{KeepClosed: 7, Alarms: alarms}, greetAndEcho)
	for i := range 100 { // the race detector sees unsynchronized use
		alarms[fmt.Sprint(i)] = ranch.Alarm{Connections: -1}
	}
	l.Options().Alarms["b"] = ranch.Alarm{}
	if o := l.Options(); len(o.Alarms) != 1 {
		t.Errorf("got %d alarms, want 1", len(o.Alarms))
	}
	if _, err := l.SetOptions(nil, ranch.Options{KeepClosed: 9}); err != nil {
		t.Fatal(err)
	}
	if n := l.Options().KeepClosed; n != 7 {
		t.Errorf("KeepClosed: got %d, want 7", n)
	}
}

// A connection that was served does not count as refused, whatever error its protocol returns: the
// error may come from another listener.
func TestRefusalErrorOfAnotherListener(t *testing.T) {
	f := new(fakeTransport)
	l, rec := startListener(t, f, ranch.Options{}, protocol.Func(func(context.Context, *transport.Conn) error {
		return fmt.Errorf("upstream: %w", conns.RefusedAddress)
	}))
	newClient(t, f, dialAddr(l))
	if got := waitReasons(t, rec, 1)[0]; got != conns.Failed {
		t.Errorf("got reason %v, want %v", got, conns.Failed)
	}
	if i := l.Info(); i.Refused != 0 || i.Served != 1 {
		t.Errorf("got %s, want 1 served and 0 refused", pretty(i))
	}
}

// Alarms that are set while the listener stops are not raised after the stop.
func TestAlarmsSetWhileStopping(t *testing.T) {
	for range 50 {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{}, greetAndEcho)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				l.SetOptions(nil, ranch.Options{Alarms: map[string]ranch.Alarm{"a": {Connections: 1}}})
			}
		}()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		receive(t, "the options are set", done)
		if all := rec.ofKind(ranch.ListenerStopped, ranch.AlarmRaised); len(all) != 1 {
			t.Errorf("got events %+v, want one", all)
		}
	}
}
