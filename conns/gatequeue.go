package conns

// waiter is a goroutine that waits for a slot.
type waiter struct {
	ready      chan struct{}
	prev, next *waiter
	queued     bool
}

// queue is a list of waiters, oldest first.
type queue struct {
	first, last *waiter
	n           int
}

func (q *queue) empty() bool { return q.n == 0 }

func (q *queue) push() *waiter {
	w := &waiter{ready: make(chan struct{}), prev: q.last, queued: true}
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
	return w
}

// pop wakes the oldest waiter.
func (q *queue) pop() {
	w := q.first
	q.remove(w)
	close(w.ready)
}

// remove takes w out and reports whether it was still in.
func (q *queue) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	w.queued = false
	q.n--
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	return true
}
