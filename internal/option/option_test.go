package option

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFaults(t *testing.T) {
	var f Faults
	f.NotNegative("A", 0, "0 for 64")
	f.CountOrNoLimit("A", -1, "0 for 64")
	f.Positive("A", time.Second, "0 for 5s")
	f.DurationOrNoTimeout("A", -1, "0 for 5s")
	f.Add(nil)
	if err := f.Err(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	f.NotNegative("A", -1, "0 for 64")
	f.CountOrNoLimit("B", -2, "0 for 64")
	f.Positive("C", -time.Second, "0 for 5s")
	f.DurationOrNoTimeout("D", -time.Second, "0 for 5s")
	f.Add(errors.New("nested"))
	want := `option A -1: allowed are positive numbers, and 0 for 64
option B -2: allowed are positive numbers, 0 for 64, and NoLimit
option C -1s: allowed are positive durations, and 0 for 5s
option D -1s: allowed are positive durations, 0 for 5s, and NoTimeout
nested`
	if diff := cmp.Diff(want, f.Err().Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestDefault(t *testing.T) {
	a, b := 0, 7
	Default(&a, 3)
	Default(&b, 3)
	if a != 3 || b != 7 {
		t.Errorf("got %d and %d, want 3 and 7", a, b)
	}
}
