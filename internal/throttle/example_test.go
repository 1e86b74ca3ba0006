package throttle_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/throttle"
)

// patient is an Owner that waits as long as it takes.
type patient struct{}

func (patient) Limit() (until time.Time, stopped bool) { return time.Time{}, false }

func Example() {
	var l throttle.Limits
	var f throttle.Flow
	f.Init(&l, throttle.Send)
	fmt.Println(f.MaxPiece(1<<20), f.Acquire(1<<16, patient{})) // there is no limit yet
	l.Set(throttle.Rates{Connection: [2]int{throttle.Send: 40_000}})
	fmt.Println(f.MaxPiece(1 << 20))
	// Output:
	// 65536 true
	// 1000
}

// A bucket that was idle allows the bytes of 50 ms at once, and then those of its rate. What was taken
// and not transferred is given back.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l throttle.Limits
		var f throttle.Flow
		f.Init(&l, throttle.Receive)
		l.Set(throttle.Rates{Connection: [2]int{throttle.Receive: 1000}, Total: [2]int{throttle.Receive: 2000}})
		f.Take(0) // the buckets begin
		for _, c := range []struct {
			pause          time.Duration
			n, want, spare int
		}{
			{time.Hour, 1000, 50, 0},
			{0, 10, 0, 0},
			{20 * time.Millisecond, 100, 20, 15},
			{0, 100, 15, 0},
			{time.Second, 10, 10, 0},
		} {
			time.Sleep(c.pause)
			got := f.Take(c.n)
			if got != c.want {
				t.Errorf("Take(%d) after %v: got %d, want %d", c.n, c.pause, got, c.want)
			}
			f.Refund(c.spare)
		}
	})
}
