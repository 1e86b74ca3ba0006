// Package reload takes files into use again when they have changed, and tells a fault once.
package reload

import (
	"context"
	"sync"
	"time"
)

// Files are looked at together. The fields are set before the first call, the methods may be called
// from any goroutine. There is no goroutine of its own and nothing to close.
type Files struct {
	// Read reads the files. sum is that of what was found, errors included, and never all zeros; use is
	// called if it differs from the last: it puts what was found in use, or says what is wrong with
	// it. Neither is called twice at a time.
	Read func() (sum [32]byte, use func() error)
	// Tries is how often changed files are read, at once, while there is a fault: those that are replaced
	// meanwhile do not fit together, for a moment. 0 and negative are 1.
	Tries int

	mu    sync.Mutex // held while files are read
	seen  [32]byte   // what was found last, good or not
	fault error      // what was wrong with it
}

// Reload looks at the files now, and reports whether new ones are in use. Its error is what is wrong with
// them, also if that was told before.
func (f *Files) Reload() (changed bool, err error) {
	news, err := f.look()
	return news && err == nil, err
}

// Run looks at the files at each interval, until ctx ends; if that is negative it only waits, 0 is not
// allowed. It calls notify, unless that is nil, when they have changed: with nil if they are in use, else
// with what is wrong. It always returns nil.
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
			if news, err := f.look(); news && notify != nil {
				notify(err)
			}
		}
	}
}

// look reports whether the files differ from those that it has seen last.
func (f *Files) look() (news bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range max(f.Tries, 1) {
		sum, use := f.Read()
		if sum == f.seen {
			break
		}
		news, f.seen = true, sum
		if f.fault = use(); f.fault == nil {
			break
		}
	}
	return news, f.fault
}
