package bucket_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/internal/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	var b bucket.Bucket
	fmt.Println(b.Take(2, 10, 2, 0), b.Take(1, 10, 2, 0))
	fmt.Println(b.Take(1, 10, 2, int64(100*time.Millisecond)))
	// Output:
	// 0s 100ms
	// 0s
}

func TestTake(t *testing.T) {
	at := func(d time.Duration) int64 { return int64(d) }
	type take struct {
		n         int
		perSecond float64
		burst     int
		at        time.Duration
		want      time.Duration
	}
	for name, takes := range map[string][]take{
		"burst, then the rate": {{3, 1, 3, 0, 0}, {1, 1, 3, 0, time.Second}, {1, 1, 3, time.Second, 0}, {1, 1, 3, time.Second, time.Second}},
		"several at once":      {{5, 10, 10, 0, 0}, {6, 10, 10, 0, 100 * time.Millisecond}, {5, 10, 10, 0, 0}},
		"more than the burst":  {{11, 10, 10, time.Hour, 100 * time.Millisecond}, {10, 10, 10, time.Hour, 0}},
		"a refusal is free":    {{2, 1, 2, 0, 0}, {1, 1, 2, 0, time.Second}, {1, 1, 2, 0, time.Second}},
		"a rate that is raised": {
			{1, 0.001, 1, 0, 0}, {1, 1000, 1, 0, time.Millisecond}, {1, 1000, 1, time.Millisecond, 0}},
		"the slowest rate": {{1, 1e-300, 1, 0, 0}, {1, 1e-300, 1, 0, bucket.LongestFill}},
	} {
		var b bucket.Bucket
		for i, k := range takes {
			if got := b.Take(k.n, k.perSecond, k.burst, at(k.at)); got != k.want {
				t.Errorf("%s, %d: got a wait of %v, want %v", name, i, got, k.want)
			}
		}
	}
}
