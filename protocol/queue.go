package protocol

import "goranch/internal/bufpool"

// queue holds the bytes that wait in an outbox.
type queue struct {
	// The bytes.
	buf  []byte // of bufpool
	head int    // buf[:head] is taken
	ends []int  // where frames end in buf, if frames may be dropped
	cuts []int  // positions in buf across which one write must not extend

	// Bytes that have left buf.
	begun     bool // a part of the first frame was taken
	inflight  int  // taken, and being written
	unflushed int  // held by the connection until Flush
	counted   int  // in Outbox.all
	pushed    int  // the bytes that push has appended, those that have left the queue included

	// Waiters.
	high  bool // HighWater was reached, and not yet LowWater again
	space chan struct{}
	empty chan struct{}
}

// size returns the number of waiting bytes, including those being written.
func (q *queue) size() int { return len(q.buf) - q.head + q.inflight + q.unflushed }

// removed returns the number of bytes that were written or dropped so far.
func (q *queue) removed() int { return q.pushed - q.size() }

// droppable returns the number of bytes in whole frames.
func (q *queue) droppable() int {
	if q.begun && len(q.ends) > 0 {
		return len(q.buf) - q.ends[0]
	}
	return len(q.buf) - q.head
}

// push appends p. ends records its end, for drop; alone separates it from other frames.
func (q *queue) push(p []byte, ends, alone bool) {
	if len(p) == 0 {
		return
	}
	if q.head > 0 && len(q.buf)+len(p) > cap(q.buf) {
		q.shift(q.head)
	}
	if alone {
		q.cuts = append(q.cuts, len(q.buf), len(q.buf)+len(p))
	}
	q.buf = append(bufpool.Grow(q.buf, len(q.buf)+len(p)), p...)
	q.pushed += len(p)
	if ends {
		q.ends = append(q.ends, len(q.buf))
	}
}

// shift removes the first bytes of buf.
func (q *queue) shift(by int) {
	q.buf = q.buf[:copy(q.buf, q.buf[by:])]
	q.head -= by
	for i := range q.ends {
		q.ends[i] -= by
	}
	for i := range q.cuts {
		q.cuts[i] -= by
	}
}

// take moves the bytes for the next write, at most max, to b, a buffer of bufpool, and returns
// them.
func (q *queue) take(b *[]byte, max int) (p []byte) {
	for len(q.cuts) > 0 && q.cuts[0] <= q.head {
		q.cuts = q.cuts[1:]
	}
	from, to := q.head, len(q.buf)
	if len(q.cuts) > 0 {
		to = q.cuts[0]
	}
	q.inflight = min(to-from, max)
	q.head += q.inflight
	taken := 0
	for taken < len(q.ends) && q.ends[taken] <= q.head {
		taken++
	}
	if q.inflight > 0 && len(q.ends) > 0 {
		q.begun = taken == 0 || q.ends[taken-1] < q.head
		q.ends = q.ends[:copy(q.ends, q.ends[taken:])]
	}
	if q.head == len(q.buf) { // the buffers are exchanged, so that a blocked write holds only one
		p, *b, q.buf = q.buf[from:], q.buf, (*b)[:0]
		q.head, q.cuts = 0, q.cuts[:0]
	} else {
		*b = append(bufpool.Grow((*b)[:0], q.inflight), q.buf[from:q.head]...)
		p = *b
	}
	q.wakeSenders()
	return p
}

// wakeSenders closes the channel of awaitSpace.
func (q *queue) wakeSenders() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

// drop drops whole frames, the oldest first, until that number of bytes is free or none is left. It
// returns the number of dropped frames, as counted by count; nil counts each push as one frame.
func (q *queue) drop(bytes int, count func(b []byte) int) (dropped int) {
	frames := 0
	first, from := 0, q.head
	if q.begun && len(q.ends) > 0 {
		first, from = 1, q.ends[0]
	}
	to := from
	for first+frames < len(q.ends) && to-from < bytes {
		to = q.ends[first+frames]
		frames++
	}
	if frames == 0 {
		return 0
	}
	dropped = frames
	if count != nil {
		dropped = count(q.buf[from:to])
	}
	q.buf = append(q.buf[:from], q.buf[to:]...)
	q.ends = append(q.ends[:first], q.ends[first+frames:]...)
	for i := first; i < len(q.ends); i++ {
		q.ends[i] -= to - from
	}
	for i, cut := range q.cuts {
		if cut > from {
			q.cuts[i] = max(from, cut-(to-from))
		}
	}
	return dropped
}

// awaitSpace returns a channel that is closed when there may be space.
func (q *queue) awaitSpace() <-chan struct{} {
	if q.space == nil {
		q.space = make(chan struct{})
	}
	return q.space
}

// awaitEmpty returns a channel that is closed when the queue is empty.
func (q *queue) awaitEmpty() <-chan struct{} {
	if q.empty == nil {
		q.empty = make(chan struct{})
	}
	return q.empty
}

// end releases the buffer and the waiters.
func (q *queue) end() {
	bufpool.Put(q.buf)
	q.wakeSenders()
	if q.empty != nil {
		close(q.empty)
	}
}
