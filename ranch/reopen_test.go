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

// All acceptors see their socket end at once. One of them opens it again, and all wait
// on what it opened.
func TestReopenedByOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{}, greetAndEcho)
		for round := 1; round <= 3; round++ {
			synctest.Wait()
			f.lastListener().Close()
			synctest.Wait()
			if n, _ := f.lastListener().inAccept(); n != 10 {
				t.Errorf("round %d: %d acceptors wait on the new socket, not all %d", round, n, 10)
			}
			if n := f.listens(); n != 1+round {
				t.Errorf("round %d: Listen was called %d times", round, n)
			}
			if n := rec.count(ranch.SocketReopened); n != round {
				t.Errorf("round %d: %d events %q", round, n, ranch.SocketReopened)
			}
		}
		servedClients(t, f, dialAddr(l), 20)
	})
}

// While listening again fails, it is tried with growing pauses, by one acceptor for all,
// however many there are.
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
			t.Errorf("Listen was called at (-want +got):\n%s", diff)
		}
		if got := rec.ofKind(ranch.AcceptFailed); len(got) != 1 || !errors.Is(got[0].Err, net.ErrClosed) {
			t.Errorf("events %q: %v", ranch.AcceptFailed, got)
		}
		if n := rec.count(ranch.AcceptRecovered); n != 0 {
			t.Errorf("%d events %q, besides that of the new socket", n, ranch.AcceptRecovered)
		}
		servedClients(t, f, dialAddr(l), 1)
	})
}
