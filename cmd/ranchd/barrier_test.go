package main

import (
	"testing"
	"testing/synctest"
)

func TestBarrier(t *testing.T) {
	for name, c := range map[string]struct {
		arrive int
		fail   bool
		want   error
	}{
		"all arrive": {3, false, nil}, "one fails": {2, true, errOtherFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBarrier(3)
				results := make(chan error, 3)
				for range c.arrive - 1 {
					go func() { results <- b.arrive() }()
				}
				synctest.Wait()
				if len(results) > 0 {
					t.Errorf("got %d results, want none before all have arrived", len(results))
				}
				if c.fail {
					b.fail()
					b.fail()
				}
				results <- b.arrive()
				for range c.arrive {
					if got := <-results; got != c.want {
						t.Errorf("got %v, want %v", got, c.want)
					}
				}
				b.fail() // after all have arrived it has no effect
			})
		})
	}
}
