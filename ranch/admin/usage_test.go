package admin

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

// The connections with the most traffic are found without storing all connections.
func TestAddUsage(t *testing.T) {
	var list []usage
	var want []uint64
	for id := range uint64(5000) {
		bytes := rand.Uint64N(1 << 40)
		want = append(want, bytes)
		list = addUsage(list, usage{Info: conns.Info{ID: id}, bytes: bytes}, 10)
		if len(list) > 2*10+64 {
			t.Fatalf("got a list of %d entries, want at most %d", len(list), 2*10+64)
		}
	}
	slices.Sort(want)
	slices.Reverse(want)
	var got []uint64
	for _, u := range sortUsage(list, 10) {
		got = append(got, u.bytes)
	}
	if diff := cmp.Diff(want[:10], got); diff != "" {
		t.Errorf("bytes: (-want +got):\n%s", diff)
	}
}
