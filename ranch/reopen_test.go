package ranch_test

import (
	"testing"
	"testing/synctest"

	"goranch/ranch"
)

// All acceptors see their socket end at once. One of them opens it again, and all wait
// on what it opened.
func TestReopenedByOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		l, rec := start(t, f, ranch.Options{}, answer)
		for round := 1; round <= 3; round++ {
			synctest.Wait()
			f.last().Close()
			synctest.Wait()
			if n, _ := f.last().inAccept(); n != ranch.DefaultNumAcceptors {
				t.Errorf("round %d: %d acceptors wait on the new socket, not all %d", round, n, ranch.DefaultNumAcceptors)
			}
			if n := f.listens(); n != 1+round {
				t.Errorf("round %d: Listen was called %d times", round, n)
			}
			if n := rec.count(ranch.SocketReopened); n != round {
				t.Errorf("round %d: %d events %q", round, n, ranch.SocketReopened)
			}
		}
		guests(t, f, dialAddr(l), 20)
	})
}
