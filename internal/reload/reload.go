// Package reload reloads files when they have changed. Changes are found by reading
// the files at an interval, and each fault is reported once.
package reload

import (
	"context"
	"sync"
	"time"
)

// Files is a set of files that are read together. The fields are set before the first call. The
// methods may be called from any goroutine. A Files has no goroutine and needs no Close.
type Files struct {
	// Read reads the files. sum is a checksum of their content and of errors; it is never all
	// zeros. use is called if sum differs from that of the previous Read: it puts the content into
	// use, or returns why it cannot. Calls of Read and use do not overlap.
	Read func() (sum [32]byte, use func() error)
	// Tries is how often changed files are read, without a wait, while use fails: files that are
	// being replaced may not fit together for a moment. 0 and negative values are 1.
	Tries int

	mu    sync.Mutex // held while files are read
	sum   [32]byte   // of the last Read
	fault error      // of the last use
}

// Reload reads the files and reports whether changed content is in use now. The error is that of
// the last use, also if it has been reported before.
func (f *Files) Reload() (changed bool, err error) {
	changed, err = f.check()
	return changed && err == nil, err
}

// Run reads the files at each interval until ctx is canceled. When they have changed it calls
// notify, unless that is nil, with the error of use. An interval of 0 is not allowed; with a
// negative one Run only waits for ctx. It always returns nil.
func (f *Files) Run(ctx context.Context, interval time.Duration, notify func(error)) error {
	if interval < 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if changed, err := f.check(); changed && notify != nil {
				notify(err)
			}
		}
	}
}

// check reads the files, uses them if they have changed, and returns the error of the last use.
func (f *Files) check() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range max(f.Tries, 1) {
		sum, use := f.Read()
		if sum == f.sum {
			break
		}
		changed, f.sum = true, sum
		if f.fault = use(); f.fault == nil {
			break
		}
	}
	return changed, f.fault
}
