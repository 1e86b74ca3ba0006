package protocol

// queue is what waits in an outbox: bytes in order, and where frames end among them if some may
// be dropped.
type queue struct {
	buf      []byte
	head     int   // buf[:head] is taken
	ends     []int // of frames, in buf, if they are needed
	cuts     []int // in buf, across which nothing is written at once
	begun    bool  // of the first frame a part is taken
	inflight int   // taken, and being written
	kept     int   // taken by the connection, of which a part is not out
	high     bool  // the mark was reached
	room     chan struct{}
	empty    chan struct{}
}

// size returns how many bytes wait, with those being written.
func (q *queue) size() int { return len(q.buf) - q.head + q.inflight + q.kept }

// droppable returns how many of them are whole frames.
func (q *queue) droppable() int {
	if q.begun && len(q.ends) > 0 {
		return len(q.buf) - q.ends[0]
	}
	return len(q.buf) - q.head
}

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
	q.buf = append(q.buf, p...)
	if ends {
		q.ends = append(q.ends, len(q.buf))
	}
}

// shift moves what is left to the beginning.
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

// take moves as much as fits, and may be written at once, to b.
func (q *queue) take(b []byte) int {
	for len(q.cuts) > 0 && q.cuts[0] <= q.head {
		q.cuts = q.cuts[1:]
	}
	to := len(q.buf)
	if len(q.cuts) > 0 {
		to = q.cuts[0]
	}
	n := copy(b, q.buf[q.head:to])
	q.head += n
	q.inflight = n
	gone := 0
	for gone < len(q.ends) && q.ends[gone] <= q.head {
		gone++
	}
	if n > 0 && len(q.ends) > 0 {
		q.begun = gone == 0 || q.ends[gone-1] < q.head
		q.ends = q.ends[:copy(q.ends, q.ends[gone:])]
	}
	if q.head == len(q.buf) {
		q.buf, q.head, q.cuts = q.buf[:0], 0, q.cuts[:0]
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return n
}

// drop drops whole frames, the oldest first, until at least that many bytes are gone or there is
// none left, and returns how many; count says how many of the peer's are in some, nil is one in each.
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

// awaitRoom returns what is closed when there may be room.
func (q *queue) awaitRoom() <-chan struct{} {
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// awaitEnd returns what is closed when nothing waits any more.
func (q *queue) awaitEnd() <-chan struct{} {
	if q.empty == nil {
		q.empty = make(chan struct{})
	}
	return q.empty
}

func (q *queue) end() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	if q.empty != nil {
		close(q.empty)
	}
}
