package ranch_test

import (
	"sync"
	"testing"

	"goranch/ranch"
)

// Acceptors that are called back while the cap changes all the time come back for that
// reason and no other: nothing of it looks like a failure of accept.
func TestCapChangesAreNoAcceptErrors(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, rec := m.start(t, ranch.Options{}, answer)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for i := range 2000 {
					l.SetMaxConnections(i % 2 * 10)
				}
			})
		}
		wg.Wait()
		l.SetMaxConnections(10)
		for _, v := range m.guests(t, l, 10) {
			v.works(t)
		}
		if n := l.Info().AcceptErrors; n != 0 {
			t.Errorf("%d accept errors, events: %v", n, rec.all(ranch.AcceptFailed))
		}
	})
}
