package ranch_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
)

var errTest = errors.New("test error")

// PostListen is called with each socket before the start returns.
func TestPostListenSeesEachSocket(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var seen []net.Addr
		l, _ := m.startListener(t, ranch.Options{PostListen: func(ln net.Listener) error {
			seen = append(seen, ln.Addr())
			return nil
		}}, greetAndEcho)
		if len(seen) != 1 || seen[0].String() != l.Addr().String() {
			t.Errorf("PostListen: got addresses %v, want %v", seen, l.Addr())
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
	})
}

// The error of PostListen fails the start or the resume, and the socket is closed.
func TestPostListenFails(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		var ln net.Listener
		refuse := true
		opts := ranch.Options{Addr: m.addr(t), PostListen: func(l net.Listener) error {
			ln = l
			if refuse {
				return errTest
			}
			return nil
		}}
		_, _, err := tryStartListener(t, &s, m.t, opts, greetAndEcho)
		if !errors.Is(err, errTest) {
			t.Fatalf("start: got %v, want %v", err, errTest)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("socket of the failed start: got %v, want %v", err, net.ErrClosed)
		}
		refuse = false
		l, _, err := tryStartListener(t, &s, m.t, opts, greetAndEcho)
		if err != nil {
			t.Fatalf("second start: got %v, want nil", err)
		}
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		refuse = true
		if err := l.Resume(); !errors.Is(err, errTest) || l.Info().Status != ranch.Suspended {
			t.Errorf("resume: got %v, status %s, want %v, %s", err, l.Info().Status, errTest, ranch.Suspended)
		}
		refuse = false
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 1)[0].checkEcho(t)
	})
}

// A panic of PostListen reaches the caller of the start, and leaves neither a socket nor a name.
func TestPostListenPanics(t *testing.T) {
	for _, sockets := range []int{1, 3} {
		var s ranch.Server
		var ln net.Listener
		failing, calls := true, 0
		opts := ranch.Options{Addr: loopbackAddr(t), NumListenSockets: sockets, PostListen: func(l net.Listener) error {
			ln = l
			if calls++; failing && calls == sockets { // the other sockets are open by then
				panic(errTest)
			}
			return nil
		}}
		got := func() (v any) {
			defer func() { v = recover() }()
			tryStartListener(t, &s, testTransports()[0].t, opts, greetAndEcho)
			return nil
		}()
		if got != errTest {
			t.Fatalf("got panic %v, want %v", got, errTest)
		}
		failing, opts.Addr, opts.NumListenSockets = false, ln.Addr().String(), 1
		if _, _, err := tryStartListener(t, &s, testTransports()[0].t, opts, greetAndEcho); err != nil {
			t.Errorf("%d sockets: second start: got %v, want nil", sockets, err)
		}
	}
}

// PostListen is also called with a socket that is reopened, which lacks the settings of the first
// one. Its error means another try.
func TestPostListenSeesReopenedSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		var calls []time.Duration
		begin := time.Now()
		l, rec := startListener(t, f, ranch.Options{PostListen: func(ln net.Listener) error {
			calls = append(calls, time.Since(begin))
			if len(calls) == 2 || len(calls) == 3 {
				return errTest
			}
			return nil
		}}, greetAndEcho)
		synctest.Wait()
		f.lastListener().Close()
		rec.wait(t, ranch.SocketReopened, 1)
		if diff := cmp.Diff([]time.Duration{0, 0, 5 * time.Millisecond, 15 * time.Millisecond}, calls); diff != "" {
			t.Errorf("times of PostListen (-want +got):\n%s", diff)
		}
		if left := f.openAddrs(); len(left) != 1 {
			t.Errorf("got open addresses %v, want one", left)
		}
		servedClients(t, f, dialAddr(l), 1)
	})
}
