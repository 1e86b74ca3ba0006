package bufpool_test

import (
	"testing"

	"goranch/internal/bufpool"
)

func TestSizes(t *testing.T) {
	for n, want := range map[int]int{0: 512, 1: 512, 512: 512, 513: 1024, 1024: 1024, 1025: 2048, 200_000: 256 << 10, 256 << 10: 256 << 10, 256<<10 + 1: 512 << 10} {
		if got := bufpool.Size(n); got != want {
			t.Errorf("Size(%d): got %d, want %d", n, got, want)
		}
		for range 3 {
			b := bufpool.Get(n)
			if len(b) != 0 || cap(b) != want {
				t.Fatalf("Get(%d): got %d of %d bytes, want 0 of %d", n, len(b), cap(b), want)
			}
			bufpool.Put(append(b, make([]byte, n)...))
		}
	}
	if got := bufpool.Grow(append(bufpool.Get(3), "abc"...), 513); string(got) != "abc" || cap(got) != 1024 {
		t.Errorf("Grow to 513: got %q of %d bytes, want abc of 1024", got, cap(got))
	}
	if b := bufpool.Get(3); &bufpool.Grow(b, 512)[:1][0] != &b[:1][0] {
		t.Error("Grow within the capacity: got another buffer, want the same")
	}
	bufpool.Put(nil)
	bufpool.Put(make([]byte, 700)) // not of Get
	if got := cap(bufpool.Get(700)); got != 1024 {
		t.Errorf("Get(700): got %d bytes, want 1024", got)
	}
}
