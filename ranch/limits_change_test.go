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

// The cap was lowered below the number of those who live: who comes is refused all the same,
// and acceptors do not spin until enough have gone.
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
				t.Errorf("it ended: %v", got)
			}
		}
		synctest.Wait() // does not return while acceptors spin
	})
}

// To repeat a cap, or to change another option, evicts nobody besides those who are already
// making room.
func TestEvictOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		opts := ranch.Options{MaxConnections: 10, Evict: conns.EvictOldest, ShutdownTimeout: 10 * time.Second}
		var told atomic.Int32
		slow := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.Write([]byte("+"))
			<-ctx.Done()
			told.Add(1)
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
		if n := told.Load(); n != 4 {
			t.Errorf("%d were told to make room, 4 are too many", n)
		}
		if err := l.SetMaxConnections(5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := told.Load(); n != 5 {
			t.Errorf("%d were told to make room, 5 are too many", n)
		}
		for _, got := range waitReasons(t, rec, 5) {
			if got != conns.Evicted {
				t.Errorf("it ended: %v", got)
			}
		}
		waitActive(t, l, 5)
	})
}

// A read that fails at a deadline carries nothing: a protocol that looks at something else
// now and then is idle all the same.
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
			t.Errorf("it ended: %v", got)
		}
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// A handshake is no idleness: the limits of use begin with the protocol.
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
			t.Errorf("it ended: %v after %v", e.Reason, e.Duration)
		}
	})
}

// badRefuser's last word is not what it should be.
type customRejecter struct {
	protocol.Protocol
	refuse func()
}

func (b customRejecter) Refuse(context.Context, *transport.Conn, error) { b.refuse() }

// Whatever a protocol does instead of a last word, the client is closed and counted.
func TestBadRefuser(t *testing.T) {
	for name, do := range map[string]func(){"panics": func() { panic("oh") }, "ends its goroutine": runtime.Goexit, "is silent": func() {}} {
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
				t.Errorf("the client reads: %v", err)
			}
			if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAtCap {
				t.Errorf("it ended: %v", got)
			}
		})
	}
}

// A last word without end does not keep the listener from stopping; the error says so.
func TestStuckRefuser(t *testing.T) {
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
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		close(release)
	})
}

// A new accept rate holds at once, also for acceptors that wait for the old one.
func TestAcceptRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 1e-6}}}, greetAndEcho)
		servedClients(t, f, dialAddr(l), 1)
		v := newClient(t, f, dialAddr(l))
		time.Sleep(30 * time.Second)
		if !v.waiting() {
			t.Fatal("it does not wait")
		}
		if _, err := l.SetOptions(nil, ranch.Options{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		v.waitServed(t)
		if took := time.Since(begin); took != 0 {
			t.Errorf("it still waits %v", took)
		}
	})
}

// What cannot be changed stays; the map of alarms is the user's own.
func TestSetOptionsKeeps(t *testing.T) {
	alarms := map[string]ranch.Alarm{"a": {Connections: 1000}}
	l, _ := startListener(t, new(fakeTransport), ranch.Options{KeepClosed: 7, Alarms: alarms}, greetAndEcho)
	for i := range 100 { // the race detector looks
		alarms[fmt.Sprint(i)] = ranch.Alarm{Connections: -1}
	}
	l.Options().Alarms["b"] = ranch.Alarm{}
	if o := l.Options(); len(o.Alarms) != 1 {
		t.Errorf("%d alarms", len(o.Alarms))
	}
	if _, err := l.SetOptions(nil, ranch.Options{KeepClosed: 9}); err != nil {
		t.Fatal(err)
	}
	if n := l.Options().KeepClosed; n != 7 {
		t.Errorf("KeepClosed is said to be %d", n)
	}
}

// An address that was let in cannot be refused afterwards, whatever its protocol says: the
// error may be of another listener's.
func TestRefusedElsewhere(t *testing.T) {
	f := new(fakeTransport)
	l, rec := startListener(t, f, ranch.Options{}, protocol.Func(func(context.Context, *transport.Conn) error {
		return fmt.Errorf("upstream: %w", conns.RefusedAddress)
	}))
	newClient(t, f, dialAddr(l))
	if got := waitReasons(t, rec, 1)[0]; got != conns.Failed {
		t.Errorf("it ended: %v", got)
	}
	if i := l.Info(); i.Refused != 0 || i.Served != 1 {
		t.Errorf("%s", pretty(i))
	}
}

// Alarms set while the listener stops neither outlive it nor go off after it.
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
		receive(t, "options are set", done)
		if all := rec.ofKind(ranch.ListenerStopped, ranch.AlarmRaised); len(all) != 1 {
			t.Errorf("%+v", all)
		}
	}
}
