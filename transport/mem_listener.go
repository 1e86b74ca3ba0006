package transport

import (
	"container/list"
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// memListener is a listener of a Mem and its backlog. Its mutex is not held together with another
// one.
type memListener struct {
	mem     *Mem
	addr    net.Addr // a memAddr, stored as an interface so that returning it does not allocate
	backlog int

	mu       sync.Mutex
	ready    sync.Cond // Accept waits for it; signalled once for each connection
	queue    memQueue  // at most backlog connections
	dials    list.List // of *memDial, oldest first: they wait for space in queue
	deadline memDeadline
	closed   bool
}

// memDial is a Dial that waits for space in the backlog. The goroutine that removes it from the
// list sends once to done, which is buffered: nil if the connection is now in the backlog.
type memDial struct {
	pair *memPair
	done chan error
}

// enqueue adds pair to the backlog, and waits for space if it is full.
func (l *memListener) enqueue(ctx context.Context, pair *memPair) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errMemRefused
	}
	if l.queue.n < l.backlog {
		l.queue.push(pair)
		l.mu.Unlock()
		l.ready.Signal()
		return nil
	}
	dial := &memDial{pair: pair, done: make(chan error, 1)}
	element := l.dials.PushBack(dial)
	l.mu.Unlock()

	select {
	case err := <-dial.done:
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case err := <-dial.done: // added before ctx ended; it may have been accepted
		return err
	default:
		l.dials.Remove(element)
		return memContextError(ctx)
	}
}

// Accept waits for a connection, and returns the server's end of the oldest one in the backlog,
// also if its client has closed it. The error wraps net.ErrClosed after Close, and
// os.ErrDeadlineExceeded after the deadline, even if connections wait.
func (l *memListener) Accept() (net.Conn, error) {
	pair, err := l.accept()
	if err != nil {
		return nil, l.opError("accept", err)
	}
	return &pair.server, nil
}

func (l *memListener) accept() (*memPair, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case l.deadline.expired:
			return nil, os.ErrDeadlineExceeded
		case l.queue.n > 0:
			pair := l.queue.pop()
			l.admit()
			return pair, nil
		}
		l.ready.Wait()
	}
}

// admit adds the connection of the oldest waiting Dial to the backlog, in which there is space.
// l.mu is held.
func (l *memListener) admit() {
	element := l.dials.Front()
	if element == nil {
		return
	}
	dial := l.dials.Remove(element).(*memDial)
	l.queue.push(dial.pair)
	l.ready.Signal()
	dial.done <- nil
}

// Close makes Accept fail, resets the connections in the backlog and refuses waiting Dial calls.
// Later calls return net.ErrClosed.
func (l *memListener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.opError("close", net.ErrClosed)
	}
	l.closed = true
	l.deadline.stop()
	queue := l.queue
	l.queue = memQueue{}
	for element := l.dials.Front(); element != nil; element = element.Next() {
		element.Value.(*memDial).done <- errMemRefused
	}
	l.dials.Init()
	l.mu.Unlock()
	l.ready.Broadcast()

	l.mem.remove(l)
	for queue.n > 0 {
		queue.pop().server.reset()
	}
	return nil
}

func (m *Mem) remove(l *memListener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.listeners, l.addr.String())
}

// Addr returns the name of the listener.
func (l *memListener) Addr() net.Addr { return l.addr }

// SetDeadline makes blocked and later calls of Accept fail from t on; the zero time means no
// deadline.
func (l *memListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("set", net.ErrClosed)
	}
	l.deadline.set(t, &l.ready, nil)
	return nil
}

func (l *memListener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: memNetwork, Addr: l.addr, Err: err}
}

// memQueue is a FIFO ring buffer that grows as needed.
type memQueue struct {
	pairs   []*memPair
	head, n int
}

func (q *memQueue) push(p *memPair) {
	if q.n == len(q.pairs) {
		bigger := make([]*memPair, max(8, 2*q.n))
		copied := copy(bigger, q.pairs[q.head:])
		copy(bigger[copied:], q.pairs[:q.head])
		q.pairs, q.head = bigger, 0
	}
	q.pairs[(q.head+q.n)%len(q.pairs)] = p
	q.n++
}

func (q *memQueue) pop() *memPair {
	p := q.pairs[q.head]
	q.pairs[q.head] = nil // so that the connection can be collected before the listener
	q.head = (q.head + 1) % len(q.pairs)
	q.n--
	return p
}

// memContextError returns the error of ctx, and its cause if that differs; errors.Is finds both.
func memContextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == cause {
		return err
	}
	return &memCauseError{err: err, cause: cause}
}

type memCauseError struct{ err, cause error }

func (e *memCauseError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *memCauseError) Unwrap() []error { return []error{e.err, e.cause} }

// Timeout is used by the Timeout method of net.OpError.
func (e *memCauseError) Timeout() bool { return e.err == context.DeadlineExceeded }
