package ranch_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"goranch/transport"
)

// fakeTransport is a transport without sockets: its connections are net.Pipes, its queues slices,
// and its waits are visible to synctest. The results of Accept can be scripted.
type fakeTransport struct {
	// listen, if set, is called by the n-th call of Listen, which returns its error.
	listen func(n int) error
	// handshake, if set, is Handshake.
	handshake func(ctx context.Context, nc net.Conn) (net.Conn, error)
	// noDeadline hides the SetDeadline of the listeners.
	noDeadline bool
	// lastOnly lets a deadline interrupt only the latest call of Accept on a listener.
	lastOnly bool
	// script is for the first calls of Accept on the first listener.
	script []acceptStep

	mu     sync.Mutex
	calls  int // of Listen
	nextID int
	open   map[string]*fakeListener
	all    []*fakeListener // that were ever opened
}

// acceptStep is the result of one call of Accept: an error, a panic, or nil for a connection.
type acceptStep func() error

func failWith(err error) acceptStep { return func() error { return err } }
func panicWith(v any) acceptStep    { return func() error { panic(v) } }

func repeated(n int, s acceptStep) []acceptStep {
	all := make([]acceptStep, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func (f *fakeTransport) Name() string { return "fake" }
func (f *fakeTransport) Secure() bool { return false }

func (f *fakeTransport) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if f.handshake != nil {
		return f.handshake(ctx, nc)
	}
	return nc, nil
}

// Listen opens a listener. ":0" becomes a number, as a port would.
func (f *fakeTransport) Listen(_ context.Context, addr string) (net.Listener, error) {
	f.mu.Lock()
	f.calls++
	n := f.calls
	f.mu.Unlock()
	if f.listen != nil {
		if err := f.listen(n); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if addr == ":0" {
		f.nextID++
		addr = fmt.Sprintf(":%d", f.nextID)
	}
	if f.open[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "fake", Addr: fakeAddr(addr), Err: syscall.EADDRINUSE}
	}
	l := &fakeListener{f: f, addr: fakeAddr(addr)}
	l.changed.L = &l.mu
	if len(f.all) == 0 {
		l.script = f.script
	}
	if f.open == nil {
		f.open = make(map[string]*fakeListener)
	}
	f.open[addr] = l
	f.all = append(f.all, l)
	if f.noDeadline {
		return struct{ net.Listener }{l}, nil
	}
	return l, nil
}

// Dial puts a connection into the queue of the listener of that address.
func (f *fakeTransport) Dial(_ context.Context, addr string) (net.Conn, error) {
	f.mu.Lock()
	l := f.open[addr]
	f.mu.Unlock()
	client, server := net.Pipe()
	if l == nil || !l.push(server) {
		return nil, &net.OpError{Op: "dial", Net: "fake", Addr: fakeAddr(addr), Err: syscall.ECONNREFUSED}
	}
	return client, nil
}

// lastListener returns the listener that was opened last.
func (f *fakeTransport) lastListener() *fakeListener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[len(f.all)-1]
}

// listens returns the number of calls of Listen.
func (f *fakeTransport) listens() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// openAddrs returns the addresses of the open listeners.
func (f *fakeTransport) openAddrs() (addrs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr := range f.open {
		addrs = append(addrs, addr)
	}
	return addrs
}

type fakeAddr string

func (a fakeAddr) Network() string { return "fake" }
func (a fakeAddr) String() string  { return string(a) }

type fakeListener struct {
	f    *fakeTransport
	addr fakeAddr

	mu         sync.Mutex
	changed    sync.Cond
	script     []acceptStep
	queue      []net.Conn
	deadline   time.Time
	closed     bool
	accepts    []time.Time // when Accept was called
	waiting    int         // calls of Accept in progress
	maxWaiting int         // the highest number of them
}

func (l *fakeListener) Addr() net.Addr { return l.addr }

func (l *fakeListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepts = append(l.accepts, time.Now())
	call := len(l.accepts)
	l.waiting++
	l.maxWaiting = max(l.maxWaiting, l.waiting)
	defer func() { l.waiting-- }()
	for {
		switch {
		case l.closed:
			return nil, l.error(net.ErrClosed)
		case len(l.script) > 0:
			s := l.script[0]
			l.script = l.script[1:]
			if err := s(); err != nil {
				if err == net.ErrClosed {
					l.close()
				}
				return nil, err
			}
		case !l.deadline.IsZero() && !time.Now().Before(l.deadline) && (call == len(l.accepts) || !l.f.lastOnly):
			return nil, l.error(os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			nc := l.queue[0]
			l.queue = l.queue[1:]
			return nc, nil
		default:
			l.changed.Wait()
		}
	}
}

func (l *fakeListener) error(err error) error {
	return &net.OpError{Op: "accept", Net: "fake", Addr: l.addr, Err: err}
}

// SetDeadline supports the zero time and times in the past.
func (l *fakeListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	l.changed.Broadcast()
	return nil
}

// Close closes the connections that were not accepted, as a kernel does.
func (l *fakeListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.error(net.ErrClosed)
	}
	l.close()
	return nil
}

func (l *fakeListener) close() {
	l.f.mu.Lock()
	delete(l.f.open, string(l.addr))
	l.f.mu.Unlock()
	l.closed = true
	for _, nc := range l.queue {
		nc.Close()
	}
	l.queue = nil
	l.changed.Broadcast()
}

func (l *fakeListener) push(nc net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, nc)
	l.changed.Broadcast()
	return true
}

// addScript adds results of Accept, also for calls in progress.
func (l *fakeListener) addScript(steps ...acceptStep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.script = append(l.script, steps...)
	l.changed.Broadcast()
}

// inAccept returns the number of calls of Accept in progress, and of all calls.
func (l *fakeListener) inAccept() (now, calls int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting, len(l.accepts)
}

// queued returns the number of connections that wait to be accepted.
func (l *fakeListener) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

var _ transport.Transport = (*fakeTransport)(nil)
