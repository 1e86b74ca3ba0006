package transport

import (
	"container/list"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	memNetwork        = "mem"
	defaultMemBacklog = 128
)

// Mem is a transport within the process: it opens no socket, and works in a
// bubble of testing/synctest, where each wait of it is durably blocking. It is
// there for tests, and for servers and clients that live in one program.
//
// The zero value is ready. Names are known within one Mem only, so a client
// needs the Mem that its server listens on. A Mem must not be copied after first
// use. Its methods may be called by several goroutines at once.
//
// Connections behave like those of TCP on Linux: buffered up to 64 KiB in each
// direction, full duplex, with half-close (CloseRead, CloseWrite), SetLinger,
// deadlines and errors of type [*net.OpError] that wrap what TCP's would wrap. An
// idle one holds no buffer, and no goroutine at any time. Both ends must be
// closed by their owners: unlike a socket, an end that is merely dropped is
// never closed for the peer that waits on it.
type Mem struct {
	// Backlog is how many connections wait for Accept on each listener; Dial
	// blocks when there are more. 0 means 128; negative is an error at Listen.
	// It is read by Listen, and must not change while that runs.
	Backlog int

	mu        sync.RWMutex // guards the fields below; never held with a listener's mutex
	listeners map[string]*memListener
	names     uint64 // free names given out so far

	clients atomic.Uint64 // connections dialled so far
}

// MemAddr is the address of a [Mem]: a listener's name, or "mem:client-N" for
// the N-th client of its Mem, which is unique. Clients cannot be dialled.
type MemAddr string

// Network returns "mem".
func (MemAddr) Network() string { return memNetwork }

// String returns the name as it was given to Listen or found by it.
func (a MemAddr) String() string { return string(a) }

// Name returns "mem".
func (*Mem) Name() string { return memNetwork }

// Secure returns false: nothing is encrypted, though nothing leaves the process either.
func (*Mem) Secure() bool { return false }

// Handshake returns nc.
func (*Mem) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) { return nc, nil }

// Listen takes the name addr, which may be any string; "" and ":0" pick a free
// one: "mem:1", "mem:2", and so on. The name is free again as soon as the listener's Close has returned.
//
// ctx matters for the call only, not for the listener. Errors are [*net.OpError]: a
// name that is taken wraps syscall.EADDRINUSE, a ctx that has ended its error and its cause.
//
// Besides what net.Listener promises, the listener has SetDeadline as [*net.TCPListener] has.
// Close resets the connections that nobody has accepted; accepted ones are not touched.
func (m *Mem) Listen(ctx context.Context, addr string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: memNetwork, Addr: MemAddr(addr), Err: err}
	}
	if ctx.Err() != nil {
		return fail(memContextError(ctx))
	}
	backlog := m.Backlog
	switch {
	case backlog < 0:
		return fail(fmt.Errorf("transport: Mem.Backlog is %d, must be positive, or 0 for %d", backlog, defaultMemBacklog))
	case backlog == 0:
		backlog = defaultMemBacklog
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if addr == "" || addr == ":0" {
		addr = m.freeName()
	} else if m.listeners[addr] != nil {
		return fail(errMemInUse)
	}
	l := &memListener{mem: m, addr: MemAddr(addr), backlog: backlog}
	l.ready.L = &l.mu
	if m.listeners == nil {
		m.listeners = make(map[string]*memListener)
	}
	m.listeners[addr] = l
	return l, nil
}

// freeName needs m.mu. It skips the names that somebody has chosen.
func (m *Mem) freeName() string {
	for {
		m.names++
		name := "mem:" + strconv.FormatUint(m.names, 10)
		if m.listeners[name] == nil {
			return name
		}
	}
}

// Dial connects to the listener whose name is addr. As with TCP the connection
// stands, and takes what is written, as soon as it is in the listener's backlog: nobody
// need have accepted it. If the backlog is full Dial waits, in the order of the calls,
// until there is room, ctx ends, or the listener is closed.
//
// Errors are [*net.OpError]. Without a listener, or when it closes meanwhile, they wrap
// syscall.ECONNREFUSED; when ctx ends, its error and its cause. The end of ctx
// after Dial has returned does not matter to the connection.
func (m *Mem) Dial(ctx context.Context, addr string) (net.Conn, error) {
	pair, err := m.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: memNetwork, Addr: MemAddr(addr), Err: err}
	}
	return &pair.client, nil
}

func (m *Mem) dial(ctx context.Context, addr string) (*memPair, error) {
	if ctx.Err() != nil {
		return nil, memContextError(ctx)
	}
	m.mu.RLock()
	l := m.listeners[addr]
	m.mu.RUnlock()
	if l == nil {
		return nil, errMemRefused
	}
	pair := newMemPair(l.addr, m.clients.Add(1))
	return pair, l.enqueue(ctx, pair)
}

// What the kernel says, in the form in which net wraps it.
var (
	errMemInUse   = os.NewSyscallError("bind", syscall.EADDRINUSE)
	errMemRefused = os.NewSyscallError("connect", syscall.ECONNREFUSED)
)

// memListener is a name, and the connections that wait for Accept under it.
//
// The mutex guards all below it. It is held together with no other one.
type memListener struct {
	mem     *Mem
	addr    net.Addr // a MemAddr, as an interface so that passing it on does not allocate
	backlog int

	mu       sync.Mutex
	ready    sync.Cond // Accept waits here: one is woken for each connection
	queue    memQueue  // at most backlog connections
	dials    list.List // of *memDial: those that found queue full, oldest first
	deadline memDeadline
	closed   bool
}

// memDial is a Dial that waits for room in the backlog. Whoever takes it off the
// list sends once to done, which is buffered: nil if it now is in the backlog.
type memDial struct {
	pair *memPair
	done chan error
}

// enqueue puts pair into the backlog, waiting for room if need be.
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
	case err := <-dial.done: // the connection was faster: it may be accepted already
		return err
	default:
		l.dials.Remove(element)
		return memContextError(ctx)
	}
}

// Accept waits for a connection, and returns the server's end of the one that has waited longest.
// It is an error for which errors.Is says net.ErrClosed after Close, and
// os.ErrDeadlineExceeded after the deadline, even if connections wait.
// A connection that its client has closed meanwhile is returned like any other.
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

// admit needs l.mu. It moves the dialler that has waited longest into the room
// that has just become free in the backlog.
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

// Close wakes each Accept, resets the connections in the backlog and refuses the diallers that
// wait for room in it. A second Close does nothing and returns an error that is net.ErrClosed.
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

	l.mem.forget(l)
	for queue.n > 0 {
		queue.pop().server.reset()
	}
	return nil
}

func (m *Mem) forget(l *memListener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.listeners, l.addr.String())
}

// Addr returns the name, a [MemAddr].
func (l *memListener) Addr() net.Addr { return l.addr }

// SetDeadline makes Accept fail after t, those that wait now included. The zero time means never.
func (l *memListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("set", net.ErrClosed)
	}
	l.deadline.set(t, &l.ready)
	return nil
}

func (l *memListener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: memNetwork, Addr: l.addr, Err: err}
}

// memQueue is a first-in, first-out ring that grows as needed.
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
	q.pairs[q.head] = nil // the connection's memory must not hang on the listener
	q.head = (q.head + 1) % len(q.pairs)
	q.n--
	return p
}

// memDeadline is a point in time after which waits on a cond fail. cond.L guards it.
// The timer is made by the first deadline that lies ahead and then used again, so
// that a deadline for each message costs no allocation.
type memDeadline struct {
	timer   *time.Timer
	stale   uint32 // calls of fire that were on their way when their deadline was replaced
	armed   bool   // the timer runs, or its fire is on its way
	expired bool
}

func (d *memDeadline) set(t time.Time, cond *sync.Cond) {
	d.disarm()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	switch {
	case wait <= 0:
		d.expired = true
		cond.Broadcast()
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() { d.fire(cond) })
	default:
		d.timer.Reset(wait)
	}
	d.armed = true
}

func (d *memDeadline) fire(cond *sync.Cond) {
	cond.L.Lock()
	if d.stale > 0 {
		d.stale--
	} else {
		d.armed, d.expired = false, true
	}
	cond.L.Unlock()
	cond.Broadcast()
}

func (d *memDeadline) disarm() {
	if d.armed && !d.timer.Stop() {
		d.stale++
	}
	d.armed = false
}

// stop ends the deadline for good.
func (d *memDeadline) stop() {
	d.disarm()
	d.timer = nil
}

// memContextError tells why ctx ended. An error and a cause that differ are both found by errors.Is.
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

// Timeout is what net.OpError asks for its own Timeout.
func (e *memCauseError) Timeout() bool { return e.err == context.DeadlineExceeded }
