package boltstore_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"goranch/protocol/session"
)

// Creates sessions from one and from 100 goroutines.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			m, err := session.New(session.Options[state]{Max: -1, Store: openStore(b, filepath.Join(b.TempDir(), "s.db"))})
			must(b, err)
			defer m.Close(b.Context())
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for range b.N/clients + min(1, max(0, b.N%clients-c)) {
						if _, err := m.Create(b.Context(), nil, discard{}, state{}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
