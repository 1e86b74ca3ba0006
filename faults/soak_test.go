package faults_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"goranch/internal/descriptors"
)

var soak = flag.Duration("soak", 0, "`duration` of TestSoak; 0 skips it")

// usage is what a process uses between schedules.
type usage struct {
	goroutines, descriptors int
	heap                    uint64 // bytes in use after a collection
}

func measure() usage {
	runtime.GC()
	runtime.GC() // the first one empties pools only halfway
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, _, _ := descriptors.Count()
	return usage{runtime.NumGoroutine(), open, m.HeapAlloc}
}

// settledUsage waits until goroutines that are about to end have ended.
func settledUsage(want int) usage {
	u := measure()
	for deadline := time.Now().Add(10 * time.Second); u.goroutines > want && time.Now().Before(deadline); u = measure() {
		time.Sleep(10 * time.Millisecond)
	}
	return u
}

// TestSoak executes random schedules for a duration, in memory and over sockets, and prints a
// report. Goroutines and descriptors must not increase, and the heap not steadily.
//
//	go test ./faults -run Soak -v -timeout 0 -soak 1h
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes as long as its flag says: go test ./faults -run Soak -v -timeout 0 -soak 1h")
	}
	begin, n, failed := time.Now(), *first, 0
	run := func(until time.Time) {
		for ; time.Now().Before(until) && failed < 5; n++ {
			wrong := runSchedule(t, n, nil)
			if n%20 == 0 {
				wrong = append(wrong, runLoopback(n)...)
			}
			if len(wrong) > 0 {
				failed++
				t.Errorf("seed %d:\n%s", n, strings.Join(wrong, "\n"))
			}
		}
	}
	run(begin.Add(*soak / 20)) // pools and maps of the process grow to their size
	base := settledUsage(2)    // this goroutine and that of the test
	const rounds = 10
	heaps := make([]uint64, rounds)
	fmt.Fprintf(os.Stdout, "%10s %10s %11s %11s %10s %6s\n", "time", "schedules", "goroutines", "descriptors", "heap KiB", "faults")
	report := func(u usage) {
		fmt.Fprintf(os.Stdout, "%10v %10d %11d %11d %10d %6d\n", time.Since(begin).Round(time.Second), n-*first, u.goroutines, u.descriptors, u.heap>>10, failed)
	}
	report(base)
	for i := range rounds {
		run(begin.Add(*soak/20 + *soak*19/20*time.Duration(i+1)/rounds))
		u := settledUsage(base.goroutines)
		heaps[i] = u.heap
		report(u)
		if u.goroutines > base.goroutines || u.descriptors > base.descriptors {
			t.Errorf("after %v: got %d goroutines and %d descriptors, want at most %d and %d",
				time.Since(begin), u.goroutines, u.descriptors, base.goroutines, base.descriptors)
		}
	}
	if grown(heaps) {
		t.Errorf("heap: got %d bytes after rounds of the same work, want no steady growth", heaps)
	}
}

// grown reports whether the least of the later half is larger than the largest of the earlier half
// by more than 1 MiB.
func grown(heaps []uint64) bool {
	var most uint64
	half := len(heaps) / 2
	for _, h := range heaps[:half] {
		most = max(most, h)
	}
	for _, h := range heaps[half:] {
		if h <= most+1<<20 {
			return false
		}
	}
	return true
}
