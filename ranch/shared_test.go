package ranch_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/ranch"
)

func newShared(t testing.TB, l conns.SharedLimits) *conns.Shared {
	t.Helper()
	s, err := conns.NewShared(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startShared starts n listeners that share limits.
func startShared(t testing.TB, f *fakeTransport, n int, s *conns.Shared, opts ranch.Options) (all []*ranch.Listener) {
	t.Helper()
	opts.Shared = s
	for range n {
		l, _ := startListener(t, f, opts, greetAndEcho)
		all = append(all, l)
	}
	return all
}

// The connections of all listeners together never exceed the cap, and the slots that idle listeners
// have reserved are used by others.
func TestSharedCap(t *testing.T) {
	for _, noDeadline := range []bool{false, true} {
		t.Run(fmt.Sprintf("no deadline %t", noDeadline), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeTransport{noDeadline: noDeadline}
				s := newShared(t, conns.SharedLimits{MaxConnections: 3})
				ls := startShared(t, f, 3, s, ranch.Options{})
				synctest.Wait()
				if st := s.State(); st.Used != 0 || st.Reserved != 3 || st.Gates != 3 {
					t.Errorf("got %+v, want 3 slots reserved by 3 gates", st)
				}
				for i := range 3 { // at each listener in turn as many as there are slots
					in := servedClients(t, f, dialAddr(ls[i]), 3)
					other := newClient(t, f, dialAddr(ls[(i+1)%3]))
					time.Sleep(10 * time.Second)
					if !other.waiting() {
						t.Error("got a client served above the cap, want none")
					}
					if st := s.State(); st.Used != 3 || st.Peak != 3 {
						t.Errorf("got %+v, want 3 used", st)
					}
					in[0].close()
					other.waitServed(t).close()
					in[1].close()
					in[2].close()
					time.Sleep(time.Second)
				}
				if st := s.State(); st.Used != 0 {
					t.Errorf("got %+v, want no slot used", st)
				}
			})
		})
	}
}

// A client that is refused at once, or after a time, gets a slot that another listener has only
// reserved.
func TestSharedCapWithRefuseAfter(t *testing.T) {
	for _, after := range []time.Duration{-1, time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s := new(fakeTransport), newShared(t, conns.SharedLimits{MaxConnections: 2})
				waits := startShared(t, f, 1, s, ranch.Options{})[0]
				refuses := startShared(t, f, 1, s, ranch.Options{RefuseAfter: after})[0]
				synctest.Wait()
				if st := s.State(); st.Reserved != 2 {
					t.Errorf("got %+v, want 2 slots reserved", st)
				}
				begin := time.Now()
				in := servedClients(t, f, dialAddr(refuses), 2)
				if took := time.Since(begin); took != 0 {
					t.Errorf("got the clients served after %v, want 0", took)
				}
				late := newClient(t, f, dialAddr(refuses))
				if err := <-late.served; err == nil {
					t.Error("got a client served above the cap, want none")
				}
				if took := time.Since(begin); took != max(after, 0) {
					t.Errorf("got the client refused after %v, want %v", took, max(after, 0))
				}
				queued := newClient(t, f, dialAddr(waits))
				synctest.Wait()
				in[0].close()
				queued.waitServed(t)
				if got := refuses.Info().Reasons[conns.RefusedAtCap]; got != 1 {
					t.Errorf("got %d refused at the cap, want 1", got)
				}
			})
		})
	}
}

// When RefuseAfter changes, acceptors with and without a reservation wait in accept. The slot moves to
// another listener even if an interrupt always reaches one of those without.
func TestSharedCapAfterRefuseAfterChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := &fakeTransport{lastOnly: true}, newShared(t, conns.SharedLimits{MaxConnections: 1})
		idle := startShared(t, f, 1, s, ranch.Options{NumAcceptors: 3})[0]
		synctest.Wait() // one acceptor has the slot, the others wait for one
		if _, err := idle.ChangeOptions(func(o *ranch.Options) { o.RefuseAfter = time.Second }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now, _ := f.lastListener().inAccept(); now != 3 {
			t.Fatalf("got %d acceptors in accept, want 3", now)
		}
		busy := startShared(t, f, 1, s, ranch.Options{})[0]
		servedClients(t, f, dialAddr(busy), 1)
	})
}

// While clients wait at all listeners, free slots go to the listeners in turn, whatever the number
// of their acceptors.
func TestSharedCapIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := new(fakeTransport), newShared(t, conns.SharedLimits{MaxConnections: 1})
		many := startShared(t, f, 1, s, ranch.Options{NumAcceptors: 50})[0]
		few := startShared(t, f, 1, s, ranch.Options{NumAcceptors: 1})[0]
		var waiting []*client
		for range 20 {
			waiting = append(waiting, newClient(t, f, dialAddr(many)), newClient(t, f, dialAddr(few)))
		}
		for range 20 {
			synctest.Wait()
			for i, v := range waiting {
				if !v.waiting() {
					v.waitServed(t).close()
					waiting = append(waiting[:i], waiting[i+1:]...)
					break
				}
			}
			time.Sleep(time.Second)
		}
		if a, b := many.Info().Accepted, few.Info().Accepted; a < 9 || b < 9 {
			t.Errorf("got %d and %d connections accepted, want the same number", a, b)
		}
	})
}

// The limits change at run time. A lower cap admits no connection until the number is below it,
// even if acceptors wait in accept; a higher one admits clients that wait at any listener.
func TestSharedLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := new(fakeTransport), newShared(t, conns.SharedLimits{MaxConnections: 10})
		ls := startShared(t, f, 2, s, ranch.Options{NumAcceptors: 2})
		in := servedClients(t, f, dialAddr(ls[0]), 3)
		set := func(n int) {
			t.Helper()
			if err := s.Set(conns.SharedLimits{MaxConnections: n}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		set(2)
		if st := s.State(); st.Used != 3 || st.Reserved != 0 {
			t.Errorf("got %+v, want 3 used slots and acceptors without reservation", st)
		}
		waits := []*client{newClient(t, f, dialAddr(ls[0])), newClient(t, f, dialAddr(ls[1]))}
		in[0].close()
		time.Sleep(time.Second)
		if !waits[0].waiting() || !waits[1].waiting() {
			t.Error("got a client served above the lowered cap, want none")
		}
		set(4)
		waits[0].waitServed(t)
		waits[1].waitServed(t)
		set(0)
		servedClients(t, f, dialAddr(ls[1]), 20)
		if st := s.State(); st.Limit != math.MaxInt || st.Used != 24 {
			t.Errorf("got %+v, want no limit and 24 used", st)
		}
		if err := s.Set(conns.SharedLimits{MaxConnections: -5, PerAddress: -2, AcceptRate: conns.Rate{PerSecond: -1}}); err == nil {
			t.Error("Set of bad limits: got nil, want an error")
		}
		if got := s.Limits(); got != (conns.SharedLimits{}) {
			t.Errorf("after a bad Set: got %+v, want the limits before", got)
		}
	})
}

// The caps of the listeners still apply.
func TestSharedCapWithOwnCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := new(fakeTransport), newShared(t, conns.SharedLimits{MaxConnections: 3})
		ls := startShared(t, f, 2, s, ranch.Options{MaxConnections: 2})
		servedClients(t, f, dialAddr(ls[0]), 2)
		third := newClient(t, f, dialAddr(ls[0]))
		servedClients(t, f, dialAddr(ls[1]), 1)
		time.Sleep(10 * time.Second)
		if !third.waiting() {
			t.Error("got a client served above the listener's cap, want none")
		}
		if _, err := ls[0].SetOptions(nil, ranch.Options{MaxConnections: 3, Shared: newShared(t, conns.SharedLimits{})}); err != nil {
			t.Fatal(err)
		}
		if ls[0].Options().Shared != s {
			t.Error("SetOptions has changed Shared, want it to stay")
		}
		time.Sleep(10 * time.Second)
		if !third.waiting() {
			t.Error("got a client served above the shared cap, want none")
		}
	})
}

// An address has its connections and its rate at all listeners together.
func TestSharedLimitsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newAddressed(), newShared(t, conns.SharedLimits{PerAddress: 2})
		exempt := conns.NetworkRule{Prefix: deny("198.51.100.0/24").Prefix, Exempt: true}
		wide := conns.NetworkRule{Prefix: deny("203.0.113.0/24").Prefix, PerAddress: 3}
		opts := ranch.Options{Shared: s, Networks: newNetworks(t, exempt, wide)}
		var ls []*ranch.Listener
		for i := range 2 {
			opts.Addr = fmt.Sprint("m", i)
			l, _ := startListener(t, a, opts, greetAndEcho)
			ls = append(ls, l)
		}
		for ip, want := range map[string]int{"192.0.2.1": 2, "198.51.100.1": 6, "203.0.113.1": 3} {
			served := 0
			for i := range 6 {
				if isServed(a.dial(t, ls[i%2], ip)) {
					served++
				}
			}
			if served != want {
				t.Errorf("%s: got %d clients served, want %d", ip, served, want)
			}
		}
		if err := ls[0].Stop(); err != nil {
			t.Fatal(err)
		}
		if !isServed(a.dial(t, ls[1], "192.0.2.1")) {
			t.Error("got a client refused after a listener has stopped, want it served")
		}
		if err := s.Set(conns.SharedLimits{AddressRate: conns.Rate{PerSecond: 0.001, Burst: 1}}); err != nil {
			t.Fatal(err)
		}
		if !isServed(a.dial(t, ls[1], "192.0.2.9")) || isServed(a.dial(t, ls[1], "192.0.2.9")) {
			t.Error("rate: got other clients served, want the first ones")
		}
		if got := s.State().Addresses; got == 0 {
			t.Errorf("got %d addresses in the table, want some", got)
		}
		ls[1].Stop()
		if st := s.State(); st.Gates != 0 || st.Used != 0 {
			t.Errorf("after all stops: got %+v, want no gates and no used slots", st)
		}
	})
}

// Connections of all listeners together are accepted at the rate.
func TestSharedAcceptRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := new(fakeTransport), newShared(t, conns.SharedLimits{AcceptRate: conns.Rate{PerSecond: 10, Burst: 5}})
		ls := startShared(t, f, 2, s, ranch.Options{})
		time.Sleep(time.Minute) // tokens beyond the burst are not saved
		begin := time.Now()
		var all []*client
		for i := range 105 {
			all = append(all, newClient(t, f, dialAddr(ls[i%2])))
		}
		for _, v := range all {
			v.waitServed(t)
		}
		if took := time.Since(begin); took < 9700*time.Millisecond || took > 10100*time.Millisecond {
			t.Errorf("got 105 connections accepted in %v, want 10s", took)
		}
		if err := s.Set(conns.SharedLimits{}); err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		servedClients(t, f, dialAddr(ls[0]), 50)
		if took := time.Since(begin); took != 0 {
			t.Errorf("without a rate: got 50 connections accepted in %v, want 0", took)
		}
	})
}

// A listener that cannot start leaves nothing in the group.
func TestSharedWithFailedStart(t *testing.T) {
	f := &fakeTransport{listen: func(int) error { return errors.New("test") }}
	s := newShared(t, conns.SharedLimits{MaxConnections: 3})
	if _, _, err := tryStartListener(t, new(ranch.Server), f, ranch.Options{Shared: s}, greetAndEcho); err == nil {
		t.Error("start: got nil, want an error")
	}
	if st := s.State(); st.Gates != 0 || st.Reserved != 0 {
		t.Errorf("got %+v, want nothing", st)
	}
}
