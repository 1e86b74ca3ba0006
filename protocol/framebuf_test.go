package protocol

import "testing"

// The buffer of an incomplete frame has a capacity for what has arrived, and is freed.
func TestPartialFrame(t *testing.T) {
	p := &Peer{}
	for _, c := range []struct{ add, cap int }{{1, 512}, {511, 512}, {1, 1 << 10}, {64<<10 - 513, 64 << 10}} {
		if p.appendPartial(make([]byte, c.add)); cap(p.partial) != c.cap {
			t.Errorf("%d bytes: got a buffer of %d, want %d", len(p.partial), cap(p.partial), c.cap)
		}
	}
	p.partial[len(p.partial)-1] = 7
	if p.setPartial(p.partial[len(p.partial)-3:]); cap(p.partial) != 512 || len(p.partial) != 3 || p.partial[2] != 7 {
		t.Errorf("got %v in a buffer of %d, want [0 0 7] in 512", p.partial, cap(p.partial))
	}
	if p.setPartial(nil); p.partial != nil {
		t.Errorf("got %v, want nil", p.partial)
	}
}
