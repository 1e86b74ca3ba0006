package ranch_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
)

// Info of a listener from its start to its stop.
func TestInfo(t *testing.T) {
	sameFunc := cmp.Comparer(func(a, b protocol.Protocol) bool {
		return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	})
	ignored := cmpopts.IgnoreFields(ranch.ListenerInfo{}, "AcceptQueue", "AcceptQueueLimit", "BytesRead", "BytesWritten")
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
				HandshakeFailures: map[conns.HandshakeFailure]uint64{},
			}
			change(&want)
			want.Serving = want.AllConnections
			if diff := cmp.Diff(want, l.Info(), sameFunc, ignored); diff != "" {
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

// RecentlyClosed returns the latest first, with the reasons.
func TestRecentlyClosed(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{KeepClosed: 3}, greetAndEcho)
		for i := range 5 {
			v := m.newClient(t, l).waitServed(t)
			v.checkEcho(t)
			if i == 3 {
				l.Kill(conns.Query{ID: l.Connections()[0].ID})
			} else {
				v.close()
			}
			rec.wait(t, ranch.ConnEnded, i+1)
		}
		got := l.RecentlyClosed()
		if len(got) != 3 {
			t.Fatalf("got %d closed connections, want 3", len(got))
		}
		for i, e := range got {
			want := conns.PeerClosed
			if i == 1 {
				want = conns.Killed
			}
			if e.Reason != want && !(i != 1 && e.Reason == conns.Failed) || !e.Served || e.Stats.BytesRead != 4 || e.State() != "closed" || e.RemoteAddr == nil {
				t.Errorf("%d: got %+v, want reason %v and 4 bytes read", i, e, want)
			}
			if i > 0 && e.ID >= got[i-1].ID {
				t.Errorf("got connection %d after %d, want the latest first", e.ID, got[i-1].ID)
			}
		}
	})
}

func TestNoRecentlyClosed(t *testing.T) {
	l, rec := startListener(t, new(fakeTransport), ranch.Options{KeepClosed: ranch.KeepNone}, greetAndReturn('x'))
	if got := l.RecentlyClosed(); len(got) != 0 || rec.count(ranch.ConnEnded) != 0 {
		t.Errorf("got %+v, want none", got)
	}
}

// The info of a connection has its TLS state.
func TestInfoOfTLS(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		m.servedClients(t, l, 1)
		i := l.Connections()[0]
		if secure := m.t.Secure(); secure != (i.TLS != nil) || secure && i.TLS.Version != "TLS 1.3" {
			t.Errorf("got TLS %+v, want TLS 1.3 if secure: %v", i.TLS, secure)
		}
		if _, ok := i.Protocol.(protocol.Func); i.State() != "serving" || !ok {
			t.Errorf("got %v, %T, want serving, protocol.Func", i.State(), i.Protocol)
		}
	})
}
