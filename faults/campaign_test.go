package faults_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 40, "`number` of schedules of the campaign")
	seed  = flag.Uint64("seed", 0, "`seed` of the only schedule of the campaign; with -v it is printed")
	first = flag.Uint64("first", 1, "first `seed` of the campaign")
	one   = flag.Bool("one", false, "end the campaign with the first schedule that fails; execute one at a time")
)

// TestCampaign executes random schedules. After each, what the server has reported must agree with
// what was seen from outside.
func TestCampaign(t *testing.T) {
	if *seed > 0 {
		var trace io.Writer
		if testing.Verbose() {
			trace = os.Stdout
			fmt.Print(newSchedule(*seed))
		}
		if wrong := runSchedule(t, *seed, trace); len(wrong) > 0 {
			t.Errorf("seed %d:\n%s", *seed, strings.Join(wrong, "\n"))
		}
		return
	}
	var next, failed atomic.Uint64
	next.Store(*first)
	end, workers, most := *first+*seeds, runtime.GOMAXPROCS(0), uint64(5)
	if *one {
		workers, most = 1, 1
	}
	for i := range workers {
		t.Run(fmt.Sprint("worker ", i), func(t *testing.T) {
			t.Parallel()
			for {
				n := next.Add(1) - 1
				if n >= end || failed.Load() >= most {
					return
				}
				if *one {
					fmt.Fprintln(os.Stderr, "schedule", n)
				}
				if wrong := runSchedule(t, n, nil); len(wrong) > 0 {
					failed.Add(1)
					text := fmt.Sprintf("seed %d (again: go test ./faults -run Campaign -v -seed %d):\n%s", n, n, strings.Join(wrong, "\n"))
					fmt.Println(text) // at once: the log of a test that does not end is lost
					t.Error(text)
				}
			}
		})
	}
}

// longestSchedule limits the time of a schedule on its own clock, and spinTime that on the clock of
// the machine: goroutines that spin stop the other clock.
const (
	longestSchedule = 2 * time.Hour
	spinTime        = time.Minute
)

// runSchedule executes the schedule of a seed in a bubble, and returns what is wrong. A goroutine
// that is left behind makes the bubble panic.
func runSchedule(t *testing.T, seed uint64, trace io.Writer) (wrong []string) {
	defer func() {
		if v := recover(); v != nil {
			wrong = append(wrong, fmt.Sprintf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	watch := func(d time.Duration, clock string) *time.Timer {
		return time.AfterFunc(d, func() {
			debug.SetTraceback("all")
			panic(fmt.Sprintf("seed %d: got no end of the schedule within %v of %s clock", seed, d, clock))
		})
	}
	limit := spinTime
	if *one {
		limit /= 3
	}
	defer watch(limit, "the machine's").Stop()
	synctest.Test(t, func(*testing.T) {
		defer watch(longestSchedule, "its").Stop()
		wrong = newWorld(newSchedule(seed), trace).run()
	})
	return wrong
}
