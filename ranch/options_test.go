package ranch_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/listenaddr"
	"goranch/ranch"
	"goranch/transport"
)

// SetOptions names the options that wait for a resume; the others apply at once.
func TestSetOptionsNamesWhatWaits(t *testing.T) {
	first := ranch.Options{Addr: ":0", NumAcceptors: 4, MaxConnections: 10, HandshakeTimeout: time.Second, ShutdownTimeout: time.Second}
	hook := func(net.Listener) error { return nil }
	for _, c := range []struct {
		name   string
		t      transport.Transport
		change func(*ranch.Options)
		want   []string
	}{
		{"nothing", nil, func(*ranch.Options) {}, nil},
		{"Addr", nil, func(o *ranch.Options) { o.Addr = ":7" }, []string{"Addr"}},
		{"NumAcceptors", nil, func(o *ranch.Options) { o.NumAcceptors = 5 }, []string{"NumAcceptors"}},
		{"NumListenSockets", nil, func(o *ranch.Options) { o.NumListenSockets = 2 }, []string{"NumListenSockets"}},
		{"PostListen", nil, func(o *ranch.Options) { o.PostListen = hook }, []string{"PostListen"}},
		{"transport", new(fakeTransport), func(*ranch.Options) {}, []string{"transport"}},
		{"limits", nil, func(o *ranch.Options) {
			o.MaxConnections, o.HandshakeTimeout, o.ShutdownTimeout = 20, 2*time.Second, ranch.BrutalKill
		}, nil},
		{"Logger and Observer stay", nil, func(o *ranch.Options) { o.Logger, o.Observer = nil, newRecorder().observe }, nil},
		{"all", new(fakeTransport), func(o *ranch.Options) {
			*o = ranch.Options{Addr: ":7", NumAcceptors: 5, NumListenSockets: 2, PostListen: hook}
		}, []string{"transport", "Addr", "NumAcceptors", "NumListenSockets", "PostListen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s ranch.Server
				l, _, err := tryStartListener(t, &s, new(fakeTransport), first, greetAndEcho)
				if err != nil {
					t.Fatal(err)
				}
				next := first
				c.change(&next)
				got, err := l.SetOptions(c.t, next)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("waiting (-want +got):\n%s", diff)
				}
				if i := l.Info(); i.NumAcceptors != 4 || i.NumListenSockets != 1 || i.Addr.String() != ":1" {
					t.Errorf("before the resume: got %s, want the old values", pretty(i))
				}
				if i := l.Info(); next.MaxConnections != 0 && i.MaxConnections != next.MaxConnections {
					t.Errorf("got a cap of %d, want %d", i.MaxConnections, next.MaxConnections)
				}
			})
		})
	}
}

// After a resume the listener has the acceptors and the address of the new options.
func TestSetOptionsTakesEffect(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{NumAcceptors: 3}, greetAndEcho)
		old := dialAddr(l)
		before := m.servedClients(t, l, 1)[0]
		seen := 0
		opts := ranch.Options{Addr: m.addr(t), NumAcceptors: 7, MaxConnections: 5, PostListen: func(net.Listener) error { seen++; return nil }}
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		if i := l.Info(); i.NumAcceptors != 3 || i.MaxConnections != 5 || listenaddr.String(i.Addr) != old {
			t.Errorf("before the resume: got %s, want 3 acceptors, a cap of 5 and address %s", pretty(i), old)
		}
		m.servedClients(t, l, 1)[0].close()
		waitActive(t, l, 1)
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(old, "unix:") { // a free port may be the same one
			if _, err := os.Stat(strings.TrimPrefix(old, "unix:")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("old socket file: got %v, want %v", err, os.ErrNotExist)
			}
		}
		if i := l.Info(); i.NumAcceptors != 7 || seen != 1 {
			t.Errorf("after the resume: got %d calls of PostListen, %s, want 1 and 7 acceptors", seen, pretty(i))
		}
		before.checkEcho(t)
		m.servedClients(t, l, 4)
		waitAllWaiting(t, l)
	})
}

// Another transport serves after the resume; connections of the old one live on.
func TestSetTransport(t *testing.T) {
	plain, secure := testTransports()[0], testTransports()[1]
	l, _ := plain.startListener(t, ranch.Options{}, greetAndEcho)
	before := plain.servedClients(t, l, 1)[0]
	waiting, err := l.SetOptions(secure.t, ranch.Options{Addr: loopbackAddr(t)})
	if err != nil || !cmp.Equal(waiting, []string{"transport"}) {
		t.Fatalf("SetOptions: got %v, %v, want transport", waiting, err)
	}
	plain.servedClients(t, l, 1)[0].checkEcho(t)
	if got := l.Info().Transport; got != "tcp" {
		t.Errorf("before the resume: got transport %s, want tcp", got)
	}
	addr := l.Addr().String()
	if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
		t.Fatal(err)
	}
	if got := l.Info(); got.Transport != "tls" || got.Addr.String() != addr {
		t.Errorf("after the resume: got %s, want tls at %s", pretty(got), addr)
	}
	secure.servedClients(t, l, 1)[0].checkEcho(t)
	before.checkEcho(t)
	names := map[string]int{}
	for _, c := range l.Connections() {
		names[c.Transport]++
	}
	if diff := cmp.Diff(map[string]int{"tcp": 2, "tls": 1}, names); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

// Bad options are refused, and nothing is changed.
func TestSetOptionsRefuses(t *testing.T) {
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: loopbackAddr(t), MaxConnections: 7}, greetAndEcho)
	before := l.Options()
	for _, c := range []struct {
		t    transport.Transport
		opts ranch.Options
	}{
		{nil, ranch.Options{MaxConnections: -1}},
		{nil, ranch.Options{NumAcceptors: 1, NumListenSockets: 2, MaxConnections: 9}},
		{nil, ranch.Options{Addr: "nowhere", MaxConnections: 9}},
		{transport.TCP{Backlog: -1}, ranch.Options{MaxConnections: 9}},
	} {
		if _, err := l.SetOptions(c.t, c.opts); !errors.Is(err, ranch.ErrBadOption) {
			t.Errorf("SetOptions(%v, %+v): got %v, want %v", c.t, c.opts, err, ranch.ErrBadOption)
		}
	}
	same := cmp.Comparer(func(a, b ranch.Options) bool {
		return a.Addr == b.Addr && a.NumAcceptors == b.NumAcceptors && a.MaxConnections == b.MaxConnections
	})
	if diff := cmp.Diff(before, l.Options(), same); diff != "" || l.Info().MaxConnections != 7 {
		t.Errorf("got a cap of %d, want 7 and no change %s", l.Info().MaxConnections, diff)
	}
}

// The HandshakeTimeout in force when a handshake begins applies to it.
func TestSetHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTransport{handshake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		opts := ranch.Options{Addr: ":0", HandshakeTimeout: time.Second}
		l, rec := startListener(t, f, opts, greetAndEcho)
		newClient(t, f, dialAddr(l))
		synctest.Wait()
		opts.HandshakeTimeout = 9 * time.Second
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		newClient(t, f, dialAddr(l))
		var got []time.Duration
		for _, e := range rec.wait(t, ranch.ConnEnded, 2) {
			got = append(got, e.Duration)
		}
		if diff := cmp.Diff([]time.Duration{time.Second, 9 * time.Second}, got); diff != "" {
			t.Errorf("times of handshakes (-want +got):\n%s", diff)
		}
	})
}

// The ShutdownTimeout in force when a stop begins applies to it.
func TestSetShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		opts := ranch.Options{Addr: ":0", ShutdownTimeout: ranch.Infinity}
		l, _ := startListener(t, f, opts, writeUntilClosed)
		servedClients(t, f, dialAddr(l), 3)
		opts.ShutdownTimeout = 7 * time.Second
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if got := time.Since(begin); got != 7*time.Second {
			t.Errorf("Stop: got %v, want 7s", got)
		}
	})
}
