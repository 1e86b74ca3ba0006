package ranch_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/ranch"
)

// twoSockets starts a listener with two sockets and a cap of 1. It returns the socket whose
// acceptor waits in accept with the only slot reserved, and the other one.
func twoSockets(t *testing.T, f *fakeTransport) (l *ranch.Listener, rec *recorder, reserved, other *fakeListener) {
	t.Helper()
	tr := &sharingTransport{fakeTransport: f}
	l, rec = startListener(t, tr, ranch.Options{NumAcceptors: 2, NumListenSockets: 2, MaxConnections: 1}, greetAndEcho)
	synctest.Wait()
	reserved, other = f.all[0], f.all[1]
	if n, _ := reserved.inAccept(); n == 0 {
		reserved, other = other, reserved
	}
	for i, ln := range []*fakeListener{reserved, other} {
		if n, _ := ln.inAccept(); n != 1-i {
			t.Fatalf("socket %d: got %d acceptors in accept, want %d", i, n, 1-i)
		}
	}
	return l, rec, reserved, other
}

// setRefuseAfter changes RefuseAfter and nothing else.
func setRefuseAfter(t testing.TB, l *ranch.Listener, d time.Duration) {
	t.Helper()
	if _, err := l.ChangeOptions(func(o *ranch.Options) { o.RefuseAfter = d }); err != nil {
		t.Fatalf("set RefuseAfter to %v: %v", d, err)
	}
}

// A pending connection gets the slot that an acceptor has reserved at once, whether or not the
// acceptor can be interrupted, and although it waits at another socket. It is not refused while
// no connection uses the slot.
func TestPendingConnectionGetsReservedSlot(t *testing.T) {
	for _, refuseAfter := range []time.Duration{10 * time.Second, 1, -1} {
		for _, noDeadline := range []bool{false, true} {
			t.Run(fmt.Sprintf("RefuseAfter %v, no deadline %v", refuseAfter, noDeadline), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, rec, reserved, other := twoSockets(t, &fakeTransport{noDeadline: noDeadline})
					setRefuseAfter(t, l, refuseAfter)
					synctest.Wait()
					begin := time.Now()
					client, server := net.Pipe()
					defer client.Close()
					other.push(server)
					synctest.Wait()
					if i := l.Info(); i.ActiveConnections != 1 || i.Refused != 0 || time.Since(begin) != 0 {
						t.Fatalf("after %v: got %s, want 1 active connection at once", time.Since(begin), pretty(i))
					}
					// The acceptor that has lost the slot refuses the next client.
					second, server := net.Pipe()
					defer second.Close()
					reserved.push(server)
					e := rec.wait(t, ranch.ConnEnded, 1)[0]
					if took, want := time.Since(begin), max(refuseAfter, 0); e.Reason != conns.RefusedAtCap || took != want {
						t.Errorf("second client: got reason %v after %v, want %v after %v", e.Reason, took, conns.RefusedAtCap, want)
					}
				})
			})
		}
	}
}

// A change of RefuseAfter applies to connections that are pending already.
func TestRefuseAfterChangesForPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: time.Minute}, greetAndEcho)
		first := servedClients(t, f, dialAddr(l), 1)[0]
		begin := time.Now()
		pending := func(n int) {
			t.Helper()
			synctest.Wait()
			if i := l.Info(); i.PendingConnections != n {
				t.Fatalf("after %v: got %s, want %d pending connections", time.Since(begin), pretty(i), n)
			}
		}
		newClient(t, f, dialAddr(l))
		pending(1)
		setRefuseAfter(t, l, 0) // no limit
		time.Sleep(time.Hour)
		pending(1)
		setRefuseAfter(t, l, 2*time.Hour) // from accept
		time.Sleep(time.Hour - 1)
		pending(1)
		if e := rec.wait(t, ranch.ConnEnded, 1)[0]; e.Reason != conns.RefusedAtCap || time.Since(begin) != 2*time.Hour {
			t.Errorf("got reason %v after %v, want %v after 2h", e.Reason, time.Since(begin), conns.RefusedAtCap)
		}
		newClient(t, f, dialAddr(l))
		pending(1)
		begin = time.Now()
		setRefuseAfter(t, l, -1)
		rec.wait(t, ranch.ConnEnded, 2)
		if took := time.Since(begin); took != 0 {
			t.Errorf("RefuseAfter -1: a pending connection was refused after %v, want 0", took)
		}
		setRefuseAfter(t, l, time.Minute)
		third := newClient(t, f, dialAddr(l))
		pending(1)
		first.close()
		third.waitServed(t).checkEcho(t)
	})
}

// While clients connect and leave, RefuseAfter and the cap change without a pause. No slot is
// lost, the cap is not exceeded, and no client waits while a slot is free.
func TestRefuseAfterChangesUnderLoad(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const limit = 7
		l, _ := m.startListener(t, ranch.Options{MaxConnections: limit}, greetAndReturn('!'))
		stop := make(chan struct{})
		var changes sync.WaitGroup
		changes.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					setRefuseAfter(t, l, []time.Duration{0, -1, time.Millisecond, time.Minute}[i%4])
					l.SetMaxConnections([]int{limit, 1, 3}[i%3])
				}
			}
		})
		all := newClients(t, m, l, m.scale(400))
		for _, c := range all { // served or refused
			receive(t, "a client is served or refused", c.served)
		}
		close(stop)
		changes.Wait()
		setRefuseAfter(t, l, 0)
		setCap(t, l, limit)
		waitActive(t, l, 0)
		l.SetProtocol(greetAndEcho)
		for _, c := range m.servedClients(t, l, limit) {
			c.checkEcho(t)
		}
		late := m.newClient(t, l)
		if i := l.Info(); i.PeakConnections > limit || i.ActiveConnections != limit || i.AcceptErrors != 0 {
			t.Errorf("got %s, want %d active connections and a peak of at most that", pretty(i), limit)
		}
		if !late.waiting() {
			t.Error("got a client served above the cap, want none")
		}
	})
}
