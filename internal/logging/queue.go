// Package logging keeps a server independent of its log: a [Queue] is a writer that never blocks,
// whatever reads the log, and a [Sampler] limits repeated lines.
package logging

import (
	"context"
	"io"
	"sync"
)

// DefaultQueueBytes is the default of [NewQueue].
const DefaultQueueBytes = 1 << 20

// Queue is an io.Writer that hands lines to another writer in a goroutine of its own. Write never
// blocks: lines for which there is no room are dropped and counted. Its methods may be called from
// any goroutine.
type Queue struct {
	w       io.Writer
	max     int
	dropped func(n uint64) []byte // the line that reports drops; nil: none

	mu     sync.Mutex
	lines  [][]byte
	bytes  int
	lost   uint64 // since the last report
	total  uint64
	closed bool
	work   chan struct{} // has room for one: there is something to write
	done   chan struct{} // closed when the goroutine has ended
}

// NewQueue returns a queue for w, which holds up to max bytes; 0 is [DefaultQueueBytes]. When lines
// can be written again after some were dropped, dropped returns a line that says how many; nil
// reports nothing. The queue has a goroutine until Close.
func NewQueue(w io.Writer, max int, dropped func(n uint64) []byte) *Queue {
	if max <= 0 {
		max = DefaultQueueBytes
	}
	q := &Queue{w: w, max: max, dropped: dropped, work: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write queues a copy of p, which is one line or several. It never fails.
func (q *Queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bytes+len(p) > q.max {
		q.lost++
		q.total++
		return len(p), nil
	}
	q.lines = append(q.lines, append([]byte(nil), p...))
	q.bytes += len(p)
	select {
	case q.work <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Dropped returns how many lines were dropped so far.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// Close writes what is queued, until ctx ends, and drops lines from then on. It returns the cause
// of ctx if that ended first; then a write is blocked still.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.work)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (q *Queue) run() {
	defer close(q.done)
	for range q.work {
		q.flush()
	}
	q.flush()
}

// flush writes until nothing is queued.
func (q *Queue) flush() {
	for {
		q.mu.Lock()
		lines, lost := q.lines, q.lost
		q.lines, q.lost = nil, 0
		q.mu.Unlock()
		if len(lines) == 0 && lost == 0 {
			return
		}
		for _, line := range lines {
			q.w.Write(line) // an error cannot be reported anywhere
			q.mu.Lock()
			q.bytes -= len(line)
			q.mu.Unlock()
		}
		if lost > 0 && q.dropped != nil {
			q.w.Write(q.dropped(lost))
		}
	}
}
