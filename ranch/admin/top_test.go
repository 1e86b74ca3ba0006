package admin

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

// The busiest of many are found without keeping all.
func TestBusiest(t *testing.T) {
	var kept []usage
	var all []uint64
	for id := range uint64(5000) {
		bytes := rand.Uint64N(1 << 40)
		all = append(all, bytes)
		kept = keep(kept, usage{Info: conns.Info{ID: id}, bytes: bytes}, 10)
		if len(kept) > 2*10+64 {
			t.Fatalf("%d are kept", len(kept))
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	var got []uint64
	for _, u := range order(kept, 10) {
		got = append(got, u.bytes)
	}
	if diff := cmp.Diff(all[:10], got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
