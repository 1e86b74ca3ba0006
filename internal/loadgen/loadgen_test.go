package loadgen

import "testing"

func TestPercentile(t *testing.T) {
	values := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for p, want := range map[float64]int64{0: 1, 0.1: 1, 0.5: 5, 0.9: 9, 0.91: 10, 1: 10} {
		if got := Percentile(values, p); got != want {
			t.Errorf("Percentile(%v): got %d, want %d", p, got, want)
		}
	}
	if got := Percentile([]int64(nil), 0.5); got != 0 {
		t.Errorf("Percentile without values: got %d, want 0", got)
	}
}
