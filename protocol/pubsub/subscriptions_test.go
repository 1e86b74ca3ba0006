package pubsub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The set holds what was added and not removed, whether it is a slice or a map.
func TestSubscriptionSet(t *testing.T) {
	name := func(i int) string { return fmt.Sprint("topic", i) }
	for _, n := range []int{0, 1, maxFew, maxFew + 1, 100} {
		var s subscriptionSet
		for i := range n {
			s.add(&subscription{topic: &topic{name: name(i)}})
		}
		for i := 0; i < n; i += 2 {
			s.remove(name(i))
		}
		s.remove("unknown")
		var got, want []string
		for sn := range s.all() {
			got = append(got, sn.topic.name)
		}
		for i := 1; i < n; i += 2 {
			want = append(want, name(i))
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d added, every other one removed (-want +got):\n%s", n, diff)
		}
		if s.len() != n/2 {
			t.Errorf("%d added, every other one removed: len: got %d, want %d", n, s.len(), n/2)
		}
		for i := range n {
			if sn := s.get(name(i)); (sn != nil) != (i%2 == 1) || sn != nil && sn.topic.name != name(i) {
				t.Errorf("%d added: get(%q): got %v, want one if it was not removed", n, name(i), sn)
			}
		}
	}
}
