package ranch_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
)

// When a socket is closed, one acceptor reopens it, and all accept on the new one.
func TestOneAcceptorReopensTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{}, greetAndEcho)
		for round := 1; round <= 3; round++ {
			synctest.Wait()
			f.lastListener().Close()
			synctest.Wait()
			if n, _ := f.lastListener().inAccept(); n != 10 {
				t.Errorf("round %d: got %d acceptors in accept on the new socket, want 10", round, n)
			}
			if n := f.listens(); n != 1+round {
				t.Errorf("round %d: got %d calls of Listen, want %d", round, n, 1+round)
			}
			if n := rec.count(ranch.SocketReopened); n != round {
				t.Errorf("round %d: got %d events %q, want %[1]d", round, n, ranch.SocketReopened)
			}
		}
		servedClients(t, f, dialAddr(l), 20)
	})
}

// While a socket cannot be reopened, one acceptor tries again after growing pauses.
func TestReopenedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var tries []time.Duration
		f := &fakeTransport{listen: func(n int) error {
			tries = append(tries, time.Since(begin))
			if n > 1 && len(tries) < 14 {
				return &net.OpError{Op: "listen", Net: "fake", Err: syscall.EADDRINUSE}
			}
			return nil
		}}
		l, rec := startListener(t, f, ranch.Options{}, greetAndEcho)
		synctest.Wait()
		f.lastListener().Close()
		rec.wait(t, ranch.SocketReopened, 1)
		want := []time.Duration{0, 0, 5, 15, 35, 75, 155, 315, 635, 1275, 2275, 3275, 4275, 5275}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, tries); diff != "" {
			t.Errorf("times of Listen (-want +got):\n%s", diff)
		}
		if got := rec.ofKind(ranch.AcceptFailed); len(got) != 1 || !errors.Is(got[0].Err, net.ErrClosed) {
			t.Errorf("events %q: got %v, want 1 of %v", ranch.AcceptFailed, got, net.ErrClosed)
		}
		if n := rec.count(ranch.AcceptRecovered); n != 0 {
			t.Errorf("got %d events %q, want 0 beside that of the new socket", n, ranch.AcceptRecovered)
		}
		servedClients(t, f, dialAddr(l), 1)
	})
}
