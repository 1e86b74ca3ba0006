package ranch_test

import (
	"errors"
	"testing"

	"goranch/conns"
	"goranch/ranch"
)

// The cap is exact: at the cap every acceptor waits, clients wait without being refused, and each
// connection that ends admits one.
func TestCapIsExact(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const n = 5
		l, _ := m.startListener(t, ranch.Options{MaxConnections: n}, greetAndEcho)
		in := m.servedClients(t, l, n)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 3)
		for len(queue) > 0 {
			for _, v := range queue {
				if !v.waiting() {
					t.Fatalf("got %s, want no client served above the cap", pretty(l.Info()))
				}
			}
			if i := l.Info(); i.ActiveConnections != n || i.AllConnections != n {
				t.Fatalf("at the cap: got %s, want %d connections", pretty(i), n)
			}
			in[0].close()
			next, rest := waitAnyServed(t, queue)
			in, queue = append(in[1:], next), rest
			waitAllWaiting(t, l)
		}
		for _, v := range in {
			v.checkEcho(t)
		}
		if i := l.Info(); i.PeakConnections != n || i.Accepted != n+3 {
			t.Errorf("got %s, want a peak of %d and %d accepted", pretty(i), n, n+3)
		}
	})
}

// newClients starts n clients.
func newClients(t testing.TB, m testTransport, l *ranch.Listener, n int) []*client {
	all := make([]*client, n)
	for i := range all {
		all[i] = m.newClient(t, l)
	}
	return all
}

// waitAnyServed waits until one of the clients is served, and returns it and the others.
func waitAnyServed(t testing.TB, queue []*client) (*client, []*client) {
	t.Helper()
	first := -1
	waitUntil(t, "a waiting client is served", func() bool {
		for i, v := range queue {
			if !v.waiting() {
				first = i
			}
		}
		return first >= 0
	})
	v := queue[first].waitServed(t)
	return v, append(append([]*client{}, queue[:first]...), queue[first+1:]...)
}

// A removed connection does not count against the cap and lives on. Removing it several times
// releases one slot.
func TestRemoveConnection(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		staying := newBlockingProtocol(t)
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 2}, staying)
		m.servedClients(t, l, 2)
		first, second := <-staying.serving, <-staying.serving
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 2)
		ranch.RemoveConnection(first)
		ranch.RemoveConnection(first)
		next, queue := waitAnyServed(t, queue)
		<-staying.serving
		ranch.RemoveConnection(first)
		waitAllWaiting(t, l)
		if !queue[0].waiting() {
			t.Error("removing one connection three times admitted two clients, want one")
		}
		if i := l.Info(); i.ActiveConnections != 2 || i.AllConnections != 3 || i.Accepted != 3 {
			t.Errorf("with one removed: got %s, want 2 active of 3", pretty(i))
		}
		counted := 0
		for _, c := range l.Connections() {
			if c.Counted {
				counted++
			}
		}
		if counted != 2 {
			t.Errorf("got %d counted connections, want 2", counted)
		}
		ranch.RemoveConnection(second)
		queue[0].waitServed(t)
		staying.unblock()
		rec.wait(t, ranch.ConnEnded, 4)
		ranch.RemoveConnection(first) // it has ended
		waitActive(t, l, 0)
		next.close()
	})
}

// A protocol may remove its own connections: any number of them live beside the cap.
func TestCapWithRemovedConnections(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 3}, uncounted(greetAndEcho))
		background := m.servedClients(t, l, 20)
		waitActive(t, l, 0)
		l.SetProtocol(greetAndEcho)
		m.servedClients(t, l, 3)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 2)
		for _, v := range background {
			v.checkEcho(t)
			v.close() // releases no slot
		}
		waitUntil(t, "the removed connections have ended", func() bool { return l.Info().AllConnections == 3 })
		if !queue[0].waiting() || !queue[1].waiting() {
			t.Error("got a client admitted by the end of a removed connection, want none")
		}
		if i := l.Info(); i.ActiveConnections != 3 || i.PeakConnections > 3 {
			t.Errorf("got %s, want 3 active connections and a peak of 3", pretty(i))
		}
	})
}

// From 10 to no cap and back: raising the cap admits all clients at once, lowering it ends no
// connection and admits none until their number is below the cap.
func TestCapRaisedAndLowered(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 10}, greetAndEcho)
		in := m.servedClients(t, l, 10)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 10)
		setCap(t, l, ranch.Unlimited)
		for _, v := range queue {
			in = append(in, v.waitServed(t))
		}
		setCap(t, l, 10)
		waitAllWaiting(t, l)
		late := m.newClient(t, l)
		for _, v := range in {
			v.checkEcho(t)
		}
		for len(in) > 10 {
			in[0].close()
			in = in[1:]
			waitActive(t, l, len(in))
			if !late.waiting() {
				t.Fatalf("got a client admitted with %d connections at a cap of 10, want none", len(in))
			}
		}
		waitAllWaiting(t, l)
		in[0].close()
		late.waitServed(t).checkEcho(t)
		if i := l.Info(); i.PeakConnections != 20 || i.AcceptErrors != 0 || i.Terminated != 11 {
			t.Errorf("got %s, want a peak of 20 and 11 terminated", pretty(i))
		}
	})
}

func setCap(t testing.TB, l *ranch.Listener, n int) {
	t.Helper()
	if err := l.SetMaxConnections(n); err != nil {
		t.Fatal(err)
	}
	if got := l.Info().MaxConnections; got != n {
		t.Fatalf("got a cap of %d, want %d", got, n)
	}
}

// Raising the cap admits as many clients as there are new slots.
func TestRaisedCapAdmitsAsManyAsFit(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 2}, greetAndEcho)
		m.servedClients(t, l, 2)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 6)
		for n := 3; n <= 5; n++ {
			setCap(t, l, n)
			_, queue = waitAnyServed(t, queue)
			waitAllWaiting(t, l)
			if i := l.Info(); i.ActiveConnections != n {
				t.Fatalf("got %s, want %d active connections", pretty(i), n)
			}
		}
		setCap(t, l, 100)
		for _, v := range queue {
			v.waitServed(t)
		}
	})
}

// A cap of 0 admits no connection, not even by an acceptor that was already in accept.
func TestCapZero(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, _ := m.startListener(t, ranch.Options{}, greetAndEcho)
		before := m.servedClients(t, l, 3)
		setCap(t, l, 0)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 3)
		for _, v := range before {
			v.checkEcho(t)
			v.close()
		}
		waitActive(t, l, 0)
		waitAllWaiting(t, l)
		for _, v := range queue {
			if !v.waiting() {
				t.Fatal("got a client served at a cap of 0, want none")
			}
		}
		if i := l.Info(); i.Accepted != 3 || i.Status != ranch.Running {
			t.Errorf("at a cap of 0: got %s, want a running listener and 3 accepted", pretty(i))
		}
		setCap(t, l, 2)
		_, queue = waitAnyServed(t, queue)
		_, queue = waitAnyServed(t, queue)
		waitAllWaiting(t, l)
		if !queue[0].waiting() {
			t.Error("got a third client served at a cap of 2, want none")
		}
	})
}

// A negative cap is refused, and the cap in force stays.
func TestCapRefused(t *testing.T) {
	l, _ := startListener(t, new(fakeTransport), ranch.Options{MaxConnections: 7}, greetAndEcho)
	for _, n := range []int{-1, -1000} {
		if err := l.SetMaxConnections(n); !errors.Is(err, ranch.ErrBadOption) {
			t.Errorf("SetMaxConnections(%d): got %v, want %v", n, err, ranch.ErrBadOption)
		}
	}
	if got := l.Info().MaxConnections; got != 7 {
		t.Errorf("got a cap of %d, want 7", got)
	}
}

// A listener at the cap stops at once, with clients in the queue.
func TestStopAtTheCap(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 2}, greetAndEcho)
		m.servedClients(t, l, 2)
		waitAllWaiting(t, l)
		queue := newClients(t, m, l, 3)
		if err := callWithTimeout(t, "the stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		for _, v := range queue {
			if err := receive(t, "the client is refused", v.served); err == nil {
				t.Error("got a client served by a stopped listener, want none")
			}
		}
		for _, e := range rec.ofKind(ranch.ConnEnded) {
			if e.Reason != conns.Shutdown {
				t.Errorf("got reason %v, want %v", e.Reason, conns.Shutdown)
			}
		}
	})
}
