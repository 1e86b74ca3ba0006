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

// Which options wait for a resume, and are named, and which apply at once.
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
		{"transport", new(fake), func(*ranch.Options) {}, []string{"transport"}},
		{"limits", nil, func(o *ranch.Options) {
			o.MaxConnections, o.HandshakeTimeout, o.ShutdownTimeout = 20, 2*time.Second, ranch.BrutalKill
		}, nil},
		{"Logger and Observer stay", nil, func(o *ranch.Options) { o.Logger, o.Observer = nil, newRecorder().observe }, nil},
		{"all", new(fake), func(o *ranch.Options) {
			*o = ranch.Options{Addr: ":7", NumAcceptors: 5, NumListenSockets: 2, PostListen: hook}
		}, []string{"transport", "Addr", "NumAcceptors", "NumListenSockets", "PostListen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s ranch.Server
				l, _, err := tryStart(t, &s, new(fake), first, answer)
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
					t.Errorf("in force before the resume: %s", pretty(i))
				}
				if i := l.Info(); next.MaxConnections != 0 && i.MaxConnections != next.MaxConnections {
					t.Errorf("the cap is %d, not %d", i.MaxConnections, next.MaxConnections)
				}
			})
		})
	}
}

// What waited is in force after a resume: the listener that runs then has the acceptors,
// the address, the sockets and the transport of the new options.
func TestSetOptionsTakesEffect(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, _ := m.start(t, ranch.Options{NumAcceptors: 3}, answer)
		old := dialAddr(l)
		before := m.guests(t, l, 1)[0]
		seen := 0
		opts := ranch.Options{Addr: m.addr(t), NumAcceptors: 7, MaxConnections: 5, PostListen: func(net.Listener) error { seen++; return nil }}
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		if i := l.Info(); i.NumAcceptors != 3 || i.MaxConnections != 5 || listenaddr.String(i.Addr) != old {
			t.Errorf("before the resume: %s", pretty(i))
		}
		m.guests(t, l, 1)[0].leave()
		active(t, l, 1)
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(old, "unix:") { // a free port may well be the same
			if _, err := os.Stat(strings.TrimPrefix(old, "unix:")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the old socket file: %v", err)
			}
		}
		if i := l.Info(); i.NumAcceptors != 7 || seen != 1 {
			t.Errorf("after the resume PostListen was called %d times: %s", seen, pretty(i))
		}
		before.works(t)
		m.guests(t, l, 4)
		allParked(t, l)
	})
}

// Another transport serves from the resume on; connections of the old one live on.
func TestSetTransport(t *testing.T) {
	plain, secure := media()[0], media()[1]
	l, _ := plain.start(t, ranch.Options{}, answer)
	before := plain.guests(t, l, 1)[0]
	waiting, err := l.SetOptions(secure.t, ranch.Options{Addr: loopback(t)})
	if err != nil || !cmp.Equal(waiting, []string{"transport"}) {
		t.Fatalf("waiting %v, %v", waiting, err)
	}
	plain.guests(t, l, 1)[0].works(t)
	if got := l.Info().Transport; got != "tcp" {
		t.Errorf("before the resume the transport is %s", got)
	}
	addr := l.Addr().String()
	if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
		t.Fatal(err)
	}
	if got := l.Info(); got.Transport != "tls" || got.Addr.String() != addr {
		t.Errorf("after the resume: %s", pretty(got))
	}
	secure.guests(t, l, 1)[0].works(t)
	before.works(t)
	names := map[string]int{}
	for _, c := range l.Connections() {
		names[c.Transport]++
	}
	if diff := cmp.Diff(map[string]int{"tcp": 2, "tls": 1}, names); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

// Options that cannot be are refused as a whole, at run time as at the start.
func TestSetOptionsRefuses(t *testing.T) {
	l, _ := start(t, transport.TCP{}, ranch.Options{Addr: loopback(t), MaxConnections: 7}, answer)
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
			t.Errorf("SetOptions(%v, %+v): %v", c.t, c.opts, err)
		}
	}
	same := cmp.Comparer(func(a, b ranch.Options) bool {
		return a.Addr == b.Addr && a.NumAcceptors == b.NumAcceptors && a.MaxConnections == b.MaxConnections
	})
	if diff := cmp.Diff(before, l.Options(), same); diff != "" || l.MaxConnections() != 7 {
		t.Errorf("something was changed: cap %d %s", l.MaxConnections(), diff)
	}
}

// The handshake's limit is that of the moment in which it begins.
func TestSetHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handshake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		opts := ranch.Options{Addr: ":0", HandshakeTimeout: time.Second}
		l, rec := start(t, f, opts, answer)
		visit(t, f, dialAddr(l))
		synctest.Wait()
		opts.HandshakeTimeout = 9 * time.Second
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		visit(t, f, dialAddr(l))
		var got []time.Duration
		for _, e := range rec.wait(t, ranch.ConnEnded, 2) {
			got = append(got, e.Duration)
		}
		if diff := cmp.Diff([]time.Duration{time.Second, 9 * time.Second}, got); diff != "" {
			t.Errorf("handshakes ended after (-want +got):\n%s", diff)
		}
	})
}

// The shutdown's limit is that of the moment in which it begins.
func TestSetShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		opts := ranch.Options{Addr: ":0", ShutdownTimeout: ranch.Infinity}
		l, _ := start(t, f, opts, untilClosed)
		guests(t, f, dialAddr(l), 3)
		opts.ShutdownTimeout = 7 * time.Second
		if _, err := l.SetOptions(nil, opts); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if got := time.Since(begin); got != 7*time.Second {
			t.Errorf("the stop took %v", got)
		}
	})
}
