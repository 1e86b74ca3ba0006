package ranch_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// waitReasons waits until n connections have ended and returns their reasons.
func waitReasons(t testing.TB, rec *recorder, n int) (reasons []conns.Reason) {
	t.Helper()
	for _, e := range rec.wait(t, ranch.ConnEnded, n) {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// rejecting is a protocol with a rejection message.
type rejecting struct{ protocol.Protocol }

// At the cap a client is refused at once, with the rejection message of the protocol.
func TestRefuseAtCap(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 2, RefuseAfter: ranch.RefuseAtOnce}, rejecting{greetAndEcho})
		in := m.servedClients(t, l, 2)
		v := m.newClient(t, l).waitServed(t)
		v.nc.SetReadDeadline(time.Now().Add(testTimeout))
		if got, err := io.ReadAll(v.nc); err != nil || string(got) != conns.RefusedAtCap.Error() {
			t.Errorf("rejection message: got %q, %v, want %v", got, err, conns.RefusedAtCap)
		}
		if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAtCap {
			t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
		}
		for _, v := range in {
			v.checkEcho(t)
		}
		if i := l.Info(); i.PeakConnections != 2 || i.Refused != 1 {
			t.Errorf("got %s, want a peak of 2 and 1 refused", pretty(i))
		}
		in[0].close()
		waitActive(t, l, 1)
		m.newClient(t, l).waitServed(t).checkEcho(t)
	})
}

// A pending client gets a slot that becomes free in time, and is refused if none does.
func TestRefuseAfterATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: time.Minute}, greetAndEcho)
		in := servedClients(t, f, dialAddr(l), 1)
		v := newClient(t, f, dialAddr(l))
		time.Sleep(time.Minute - time.Second)
		if !v.waiting() {
			t.Fatal("the client was served or refused, want it to wait")
		}
		in[0].close()
		v.waitServed(t)
		begin := time.Now()
		late := newClient(t, f, dialAddr(l))
		if err := <-late.served; err == nil {
			t.Error("got a client served above the cap, want none")
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("got refused after %v, want 1m", took)
		}
		if got := waitReasons(t, rec, 2)[1]; got != conns.RefusedAtCap {
			t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
		}
	})
}

// Connections beyond the maximum of pending ones are refused at once.
func TestMaxPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: time.Hour}, rejecting{greetAndEcho})
		servedClients(t, f, dialAddr(l), 1)
		for range 1100 {
			if _, err := f.Dial(t.Context(), dialAddr(l)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := l.Info().PendingConnections; n != 1024 {
			t.Errorf("got %d pending connections, want 1024", n)
		}
		if n := rec.count(ranch.ConnEnded); n != 76 {
			t.Errorf("got %d refused connections, want 76", n)
		}
	})
}

// RefuseAfter can be changed while acceptors wait, both ways.
func TestRefuseAfterChanges(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		opts := ranch.Options{Addr: m.addr(t), MaxConnections: 1}
		l, _, err := tryStartListener(t, new(ranch.Server), m.t, opts, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		in := m.servedClients(t, l, 1)
		waitAllWaiting(t, l)
		waits := m.newClient(t, l)
		set := func(d time.Duration) {
			t.Helper()
			opts.RefuseAfter = d
			if _, err := l.SetOptions(nil, opts); err != nil {
				t.Fatal(err)
			}
		}
		set(-1)
		if err := receive(t, "the waiting client is refused", waits.served); err == nil {
			t.Error("got a client served above the cap, want none")
		}
		set(0)
		waits = m.newClient(t, l)
		in[0].close()
		if err := receive(t, "the client is served", waits.served); err != nil {
			// Acceptors that were in accept when it changed refuse no connection either.
			t.Errorf("got %v, want the client served", err)
		}
	})
}

// When the cap is lowered below the number of connections, clients are refused and acceptors do not
// spin.
func TestRefuseWhenLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 3, RefuseAfter: ranch.RefuseAtOnce}, greetAndEcho)
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
			l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: ranch.RefuseAtOnce}, customRejecter{greetAndEcho, do})
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
		l, err := new(ranch.Server).StartListener(ref, f, ranch.Options{MaxConnections: 1, RefuseAfter: ranch.RefuseAtOnce, Logger: discardLogger},
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
