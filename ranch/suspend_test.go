package ranch_test

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
)

// A suspended listener takes nobody; its connections go on; resumed it is where it was,
// also if the system had chosen the port. Both may be repeated.
func TestSuspendAndResume(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		l, rec, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		addr := dialAddr(l)
		live := m.servedClients(t, l, 3)
		for round := 1; round <= 3; round++ {
			for range 2 {
				if err := l.Suspend(); err != nil {
					t.Fatal(err)
				}
				if i := l.Info(); i.Status != ranch.Suspended || i.ActiveConnections != 3 || dialAddr(l) != addr {
					t.Errorf("suspended: %s", pretty(i))
				}
			}
			if err := receive(t, "a client is refused", m.newClient(t, l).served); err == nil {
				t.Error("a suspended listener serves")
			}
			for _, v := range live {
				v.checkEcho(t)
			}
			for range 2 {
				if err := l.Resume(); err != nil {
					t.Fatal(err)
				}
				if i := l.Info(); i.Status != ranch.Running || dialAddr(l) != addr {
					t.Errorf("resumed: %s", pretty(i))
				}
			}
			v := m.servedClients(t, l, 1)[0]
			v.checkEcho(t)
			v.close()
			waitActive(t, l, 3)
			for kind, n := range map[ranch.EventKind]int{
				ranch.ListenerSuspended: round, ranch.ListenerResumed: round, ranch.AcceptorStarted: 10 + 10*round, ranch.AcceptorStopped: 10 * round,
			} {
				rec.wait(t, kind, n) // acceptors tell when they run
				if got := rec.count(kind); got != n {
					t.Errorf("round %d: %d events %q, not %d", round, got, kind, n)
				}
			}
		}
		for _, v := range live {
			v.checkEcho(t)
		}
	})
}

// The cap counts those who came before the suspension.
func TestSuspendKeepsTheCount(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 3}, greetAndEcho)
		live := m.servedClients(t, l, 3)
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
			t.Fatal(err)
		}
		waitAllWaiting(t, l)
		late := m.newClient(t, l)
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		receive(t, "who waited in the queue learns of it", late.served)
		setCap(t, l, 4) // while it is suspended
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
		waitAllWaiting(t, l)
		live[0].close()
		m.servedClients(t, l, 1)[0].checkEcho(t)
		if i := l.Info(); i.PeakConnections != 4 {
			t.Errorf("in the end: %s", pretty(i))
		}
	})
}

// When the place is taken meanwhile, the resume fails and can be tried again.
func TestResumeFails(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		live := m.servedClients(t, l, 1)[0]
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		thief, err := m.t.Listen(t.Context(), dialAddr(l))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Resume(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("resuming at a taken place: %v", err)
		}
		if i := l.Info(); i.Status != ranch.Suspended {
			t.Errorf("after that: %s", pretty(i))
		}
		live.checkEcho(t)
		thief.Close()
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
	})
}

// Neither is possible before the start and after the end.
func TestSuspendWhatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newTestListener(t, testTransport{"fake", new(fakeTransport), memAddr}, ranch.Options{})
		check := func(when string) {
			t.Helper()
			for name, f := range map[string]func() error{"Suspend": l.Suspend, "Resume": l.Resume} {
				if err := f(); !errors.Is(err, ranch.ErrStopped) {
					t.Errorf("%s %s: %v", name, when, err)
				}
			}
		}
		check("before the start")
		done := runListener(t.Context(), l)
		synctest.Wait()
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		if err := l.Stop(); err != nil { // a suspended one
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		check("after the end")
	})
}

// Operations that come all at once happen one after the other, and leave the listener in
// one of its states, with all that belongs to it.
func TestOperationsAtOnce(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		live := m.servedClients(t, l, 2)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
						t.Error(err)
					}
					l.SetMaxConnections(100)
					l.Info()
				}
			})
		}
		wg.Wait()
		if i := l.Info(); i.Status != ranch.Running {
			t.Errorf("it is %s", i.Status)
		}
		for _, v := range append(live, m.servedClients(t, l, 20)...) {
			v.checkEcho(t)
		}
	})
}

// Connections survive that somebody closes the listening socket, and the socket is
// opened again in the same place.
func TestClosedSocketIsOpenedAgain(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		sockets := make(chan net.Listener, 10)
		l, rec := m.startListener(t, ranch.Options{PostListen: func(ln net.Listener) error { sockets <- ln; return nil }}, greetAndEcho)
		addr := dialAddr(l)
		live := m.servedClients(t, l, 3)
		for round := 1; round <= 3; round++ {
			(<-sockets).Close()
			rec.wait(t, ranch.SocketReopened, round)
			if got := dialAddr(l); got != addr {
				t.Errorf("it is at %s, not %s", got, addr)
			}
			live = append(live, m.servedClients(t, l, 2)...)
			for _, v := range live {
				v.checkEcho(t)
			}
			if n := rec.count(ranch.AcceptFailed); n != round {
				t.Errorf("%d events %q for %d closed sockets", n, ranch.AcceptFailed, round)
			}
		}
		if i := l.Info(); i.ActiveConnections != len(live) || i.Status != ranch.Running {
			t.Errorf("in the end: %s", pretty(i))
		}
	})
}

// All listeners at once, whatever state each is in.
func TestSuspendAndResumeAll(t *testing.T) {
	var s ranch.Server
	f := new(fakeTransport)
	for _, ref := range []string{"a", "b", "c"} {
		l, err := s.StartListener(ref, f, ranch.Options{Logger: discardLogger}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Stop() })
	}
	statuses := func() (all []ranch.Status) {
		for _, l := range s.Listeners() {
			all = append(all, l.Info().Status)
		}
		return all
	}
	each := func(f func(*ranch.Listener) error) (err error) {
		for _, l := range s.Listeners() {
			err = errors.Join(err, f(l))
		}
		return err
	}
	if l, err := s.Listener("b"); err != nil || l.Suspend() != nil {
		t.Fatal(err)
	}
	if err := each((*ranch.Listener).Suspend); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]ranch.Status{ranch.Suspended, ranch.Suspended, ranch.Suspended}, statuses()); diff != "" {
		t.Error(diff)
	}
	if err := each((*ranch.Listener).Resume); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]ranch.Status{ranch.Running, ranch.Running, ranch.Running}, statuses()); diff != "" {
		t.Error(diff)
	}
	f.listen = func(int) error { return errTest }
	if err := each((*ranch.Listener).Suspend); err != nil {
		t.Error(err)
	}
	if err := each((*ranch.Listener).Resume); !errors.Is(err, errTest) {
		t.Errorf("got %v, want %v", err, errTest)
	}
}
