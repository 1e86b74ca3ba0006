package certs

import (
	"testing"
	"testing/synctest"
	"time"
)

// Keys of the process are created every day, without a goroutine, and are kept for a week.
func TestTicketKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Store)
		first := &set{}
		first.keys, first.shared = s.ticketKeys()
		s.cur.Store(first)
		seen := map[[32]byte]bool{}
		for day := range 20 {
			cur := s.current()
			if want := min(day+1, 7); len(cur.keys) != want {
				t.Errorf("day %d: got %d keys, want %d", day, len(cur.keys), want)
			}
			if seen[cur.keys[0].key] {
				t.Errorf("day %d: got an old key, want a new one", day)
			}
			seen[cur.keys[0].key] = true
			time.Sleep(12 * time.Hour)
			if s.current() != cur {
				t.Errorf("day %d: got another key at noon, want the same", day)
			}
			time.Sleep(12 * time.Hour)
		}

		given := &set{keys: sharedKeys([][32]byte{{1}}), shared: true}
		s.cur.Store(given)
		time.Sleep(1000 * time.Hour)
		if s.current() != given {
			t.Error("configured keys: got a change, want none")
		}
	})
}
