package main

import (
	"errors"
	"sync"
)

// errOtherFailed is the error of a listener that was not started because another one failed.
var errOtherFailed = errors.New("another listener could not be started")

// barrier makes listeners wait until all have opened their sockets, or one has failed.
type barrier struct {
	mu      sync.Mutex
	missing int
	failed  bool
	done    chan struct{} // closed when none is missing, or one has failed
}

func newBarrier(n int) *barrier { return &barrier{missing: n, done: make(chan struct{})} }

// arrive waits for the others.
func (b *barrier) arrive() error {
	b.leave()
	<-b.done
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed {
		return errOtherFailed
	}
	return nil
}

// leave is arrive for one that does without a socket.
func (b *barrier) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.missing--; b.missing == 0 && !b.failed {
		close(b.done)
	}
}

// fail makes arrive return an error for all.
func (b *barrier) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.failed && b.missing > 0 {
		b.failed = true
		close(b.done)
	}
}
