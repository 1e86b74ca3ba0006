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

// A suspended listener accepts no connection, and its connections go on. A resume listens on the
// same address, also if the system has chosen the port. Both can be repeated.
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
					t.Errorf("got %s, want a suspended listener with 3 active connections at %s", pretty(i), addr)
				}
			}
			if err := receive(t, "the client is refused", m.newClient(t, l).served); err == nil {
				t.Error("got a client served by a suspended listener, want none")
			}
			for _, v := range live {
				v.checkEcho(t)
			}
			for range 2 {
				if err := l.Resume(); err != nil {
					t.Fatal(err)
				}
				if i := l.Info(); i.Status != ranch.Running || dialAddr(l) != addr {
					t.Errorf("got %s, want a running listener at %s", pretty(i), addr)
				}
			}
			v := m.servedClients(t, l, 1)[0]
			v.checkEcho(t)
			v.close()
			waitActive(t, l, 3)
			for kind, n := range map[ranch.EventKind]int{
				ranch.ListenerSuspended: round, ranch.ListenerResumed: round, ranch.AcceptorStarted: 10 + 10*round, ranch.AcceptorStopped: 10 * round,
			} {
				rec.wait(t, kind, n) // acceptors emit events when they run
				if got := rec.count(kind); got != n {
					t.Errorf("round %d: got %d events %q, want %d", round, got, kind, n)
				}
			}
		}
		for _, v := range live {
			v.checkEcho(t)
		}
	})
}

// The cap counts the connections from before the suspension.
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
		receive(t, "the waiting client is refused", late.served)
		setCap(t, l, 4) // while it is suspended
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
		waitAllWaiting(t, l)
		live[0].close()
		m.servedClients(t, l, 1)[0].checkEcho(t)
		if i := l.Info(); i.PeakConnections != 4 {
			t.Errorf("got %s, want a peak of 4", pretty(i))
		}
	})
}

// When the address is taken in the meantime, the resume fails and can be repeated.
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
			t.Errorf("resume at a taken address: got %v, want %v", err, syscall.EADDRINUSE)
		}
		if i := l.Info(); i.Status != ranch.Suspended {
			t.Errorf("after that: got %s, want %s", pretty(i), ranch.Suspended)
		}
		live.checkEcho(t)
		thief.Close()
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
	})
}

// A listener that is not started or has stopped can be neither suspended nor resumed.
func TestSuspendWithoutStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newTestListener(t, testTransport{"fake", new(fakeTransport), memAddr}, ranch.Options{})
		check := func(when string) {
			t.Helper()
			for name, f := range map[string]func() error{"Suspend": l.Suspend, "Resume": l.Resume} {
				if err := f(); !errors.Is(err, ranch.ErrStopped) {
					t.Errorf("%s %s: got %v, want %v", name, when, err, ranch.ErrStopped)
				}
			}
		}
		check("before the start")
		done := runListener(t.Context(), l)
		synctest.Wait()
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		if err := l.Stop(); err != nil { // while it is suspended
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		check("after the end")
	})
}

// Concurrent operations are executed one after the other and leave a working listener.
func TestConcurrentOperations(t *testing.T) {
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
			t.Errorf("got status %s, want %s", i.Status, ranch.Running)
		}
		for _, v := range append(live, m.servedClients(t, l, 20)...) {
			v.checkEcho(t)
		}
	})
}

// A listening socket that other code closes is reopened at the same address, and connections go on.
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
				t.Errorf("got address %s, want %s", got, addr)
			}
			live = append(live, m.servedClients(t, l, 2)...)
			for _, v := range live {
				v.checkEcho(t)
			}
			if n := rec.count(ranch.AcceptFailed); n != round {
				t.Errorf("got %d events %q, want %d", n, ranch.AcceptFailed, round)
			}
		}
		if i := l.Info(); i.ActiveConnections != len(live) || i.Status != ranch.Running {
			t.Errorf("got %s, want a running listener with %d connections", pretty(i), len(live))
		}
	})
}

// Suspend and resume all listeners, whatever their status.
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
