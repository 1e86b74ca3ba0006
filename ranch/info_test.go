package ranch_test

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// Info of a listener from its start to its stop.
func TestInfo(t *testing.T) {
	sameFunc := cmp.Comparer(func(a, b protocol.Protocol) bool {
		return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	})
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		l, _, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t), MaxConnections: 3, NumAcceptors: 2}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string, change func(*ranch.ListenerInfo)) {
			t.Helper()
			want := ranch.ListenerInfo{
				Ref: ref, Status: ranch.Running, Transport: m.t.Name(), Protocol: greetAndEcho, Addr: l.Addr(),
				NumAcceptors: 2, NumListenSockets: 1, MaxConnections: 3, Reasons: map[conns.Reason]uint64{},
			}
			change(&want)
			if diff := cmp.Diff(want, l.Info(), sameFunc); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
			byName, err := s.Listener(ref)
			if want.Status == ranch.Stopped {
				if !errors.Is(err, ranch.ErrNotFound) {
					t.Errorf("%s: got %v, want %v", when, err, ranch.ErrNotFound)
				}
			} else if byName != l {
				t.Errorf("%s: got listener %v, %v, want %v", when, byName, err, l)
			}
		}
		check("at the start", func(i *ranch.ListenerInfo) {})
		clients := m.servedClients(t, l, 3)
		waitAllWaiting(t, l)
		check("at the cap", func(i *ranch.ListenerInfo) {
			i.Accepted, i.ActiveConnections, i.AllConnections, i.PeakConnections, i.WaitingAcceptors = 3, 3, 3, 3, 2
		})
		clients[0].close()
		waitActive(t, l, 2)
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		check("suspended", func(i *ranch.ListenerInfo) {
			i.Status, i.Accepted, i.ActiveConnections, i.AllConnections, i.PeakConnections = ranch.Suspended, 3, 2, 2, 3
			i.Terminated, i.Served, i.Reasons = 1, 1, map[conns.Reason]uint64{conns.PeerClosed: 1}
		})
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		check("stopped", func(i *ranch.ListenerInfo) {
			i.Status, i.Accepted, i.PeakConnections = ranch.Stopped, 3, 3
			i.Terminated, i.Served, i.Reasons = 3, 3, map[conns.Reason]uint64{conns.PeerClosed: 1, conns.Shutdown: 2}
		})
	})
}

// The counters are exact.
func TestCountersAreExact(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const rounds = 5
		n := uint64(m.scale(20))
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 7}, greetAndReturn('!'))
		for round := uint64(1); round <= rounds; round++ {
			m.servedClients(t, l, int(n))
			rec.wait(t, ranch.ConnEnded, int(round*n))
			i := l.Info()
			if i.Accepted != round*n || i.Terminated != round*n || i.Served != round*n || i.AllConnections != 0 || i.ActiveConnections != 0 {
				t.Fatalf("round %d: got %s, want %d accepted, served and terminated", round, pretty(i), round*n)
			}
			if diff := cmp.Diff(map[conns.Reason]uint64{conns.Finished: round * n}, i.Reasons); diff != "" {
				t.Errorf("round %d: reasons (-want +got):\n%s", round, diff)
			}
		}
	})
}

// The counters add up at every moment, also while they change.
func TestCountersAddUpAtEveryMoment(t *testing.T) {
	m := testTransports()[0]
	l, rec := m.startListener(t, ranch.Options{MaxConnections: 10}, greetAndReturn('!'))
	const n = 400
	for range n {
		m.newClient(t, l)
	}
	for rec.count(ranch.ConnEnded) < n {
		if err := checkCounters(l.Info()); err != nil {
			t.Fatal(err)
		}
	}
}

// Listeners are sorted by name.
func TestListenersAreSorted(t *testing.T) {
	var s ranch.Server
	for _, name := range []string{"b", "a", "d", "c"} {
		l, err := s.StartListener(name, new(fakeTransport), ranch.Options{Logger: discardLogger}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Stop() })
	}
	if l, err := s.Listener("d"); err != nil || l.Stop() != nil {
		t.Fatal(err)
	}
	want := []string{"a", "b", "c"}
	if diff := cmp.Diff(want, listenerNames(&s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l, err := s.Listener("a"); err != nil || l.Ref() != "a" {
		t.Errorf("Listener(a): got %v, %v", l, err)
	}
}

// Connections lists the live connections, and Kill closes one.
func TestConnectionsAndKill(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		begin := time.Now()
		l, rec, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, echo.Protocol{})
		if err != nil {
			t.Fatal(err)
		}
		var all []*client
		for i := range 3 {
			v := m.newClient(t, l) // echo sends no greeting
			waitUntil(t, "the client is served", func() bool {
				cs := l.Connections()
				return len(cs) == i+1 && cs[i].Served
			})
			all = append(all, v)
		}
		cs := l.Connections()
		if len(cs) != 3 {
			t.Fatalf("got connections %v, want 3", cs)
		}
		for i, c := range cs {
			if c.Transport != m.t.Name() || c.Since.Before(begin) || !c.Counted || !c.Served || c.RemoteAddr == nil || c.Protocol != (echo.Protocol{}) {
				t.Errorf("connection %d: got %+v, want one that is served and counted", i, c)
			}
			if i > 0 && c.ID <= cs[i-1].ID {
				t.Errorf("got connection %d after %d, want the oldest first", c.ID, cs[i-1].ID)
			}
		}
		if !l.Kill(cs[1].ID) {
			t.Fatalf("Kill(%d): got false, want true", cs[1].ID)
		}
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if e.Conn.ID() != cs[1].ID || e.Reason != conns.Killed {
			t.Errorf("connection %d: got reason %v, want %v", e.Conn.ID(), e.Reason, conns.Killed)
		}
		receive(t, "the client's connection ends", all[1].served)
		if l.Kill(cs[1].ID) {
			t.Error("second Kill: got true, want false")
		}
		waitActive(t, l, 2)
	})
}

// A listener writes to its own logger only.
func TestCustomLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var own, others lockedBuffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&others, nil)))
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: loopbackAddr(t), Logger: slog.New(slog.NewTextHandler(&own, nil))}, greetAndEcho)
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"listener started", "listener stopped", "listener=" + ref, "addr=" + l.Addr().String()} {
		if !strings.Contains(own.String(), want) {
			t.Errorf("got log %s, want it to contain %q", own.String(), want)
		}
	}
	if got := others.String(); got != "" {
		t.Errorf("default logger: got %s, want nothing", got)
	}
}

// Without a Logger a listener uses the default logger at the time of its creation.
func TestDefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var first, second lockedBuffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&first, nil)))
	l, err := new(ranch.Server).StartListener(ref, new(fakeTransport), ranch.Options{}, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(&second, nil)))
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := first.String(); !strings.Contains(got, "listener started") || !strings.Contains(got, "listener stopped") {
		t.Errorf("got log %s, want the start and the stop", got)
	}
	if got := second.String(); got != "" {
		t.Errorf("later default logger: got %s, want nothing", got)
	}
}
