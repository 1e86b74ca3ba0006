package idle

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stuckAfter is the interval of watch. A lead that has handled one event for one to two of them is
// replaced.
const stuckAfter = 5 * time.Millisecond

// yieldAfter is the number of events after which a lead waits even if there are more: the scheduler
// polls the network for runnable goroutines only when it has no others, or after 10 ms.
const yieldAfter = 64

// event is an event of a parked connection.
type event struct {
	entry
	fd   int
	bits uint32
}

// lead handles the events of a table until the table is closed or another lead replaces this one.
// If a callback ends the goroutine (runtime.Goexit), another goroutine continues.
func (t *table) lead(term uint64) {
	returned := false
	defer func() {
		if !returned {
			go t.lead(term)
		}
	}()
	var l Lead
	w := newWaiter()
	at := now()
	for handled := 0; ; handled++ {
		ev, more, ok := t.take(term)
		if ok && !more {
			if w.yield = handled >= yieldAfter; w.yield {
				handled = 0
			}
			if ok = t.refill(term, w); ok {
				at = now()
				ev, _, ok = t.take(term)
			}
		}
		if !ok {
			returned = true
			return
		}
		if ev.reads != nil {
			at = ev.handle(&l, at)
		}
	}
}

// handle wakes the connection or reads it, and returns the time.
func (ev *event) handle(l *Lead, at time.Duration) time.Duration {
	if ev.inline == nil {
		ev.wake()
		return at
	}
	if !ev.reads.readable(ev.fd) {
		return at
	}
	if !ev.inline.allows(at) {
		ev.waker.Wake()
		return at
	}
	l.More = ev.bits&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	ev.waker.Ready(l)
	end := now()
	if l.handled++; end-at > slow {
		l.slow(ev.inline, end)
	}
	return end
}

// take returns the next event. The event has no entry if the connection was woken in the meantime.
// more is false if there are no more events, and ok is false if the lead is to end.
func (t *table) take(term uint64) (ev event, more, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.term != term {
		return ev, false, false
	}
	if t.next == len(t.events) {
		t.busy = false
		return ev, false, true
	}
	e := &t.events[t.next]
	t.next++
	if ev.fd = int(e.Fd); ev.fd >= len(t.entries) || t.entries[ev.fd].reads == nil {
		return ev, true, true
	}
	ev.entry, ev.bits = t.entries[ev.fd], e.Events
	if ev.inline == nil {
		t.clear(ev.fd, false)
	}
	t.handled++
	t.busy, t.inline = true, ev.inline
	t.startWatch()
	return ev, true, true
}

// refill waits for events.
func (t *table) refill(term uint64, w *waiter) bool {
	t.mu.Lock()
	raw := t.raw
	w.wakeFD = t.wakeFD
	t.mu.Unlock()
	if raw == nil || raw.Read(w.f) != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.term != term {
		return false
	}
	t.events, t.next = w.events[:w.n], 0
	return true
}

// waiter holds the events of a lead.
type waiter struct {
	events [128]unix.EpollEvent
	n      int
	wakeFD int  // an eventfd that the epoll instance watches
	yield  bool // wait once, even if there are events
	f      func(fd uintptr) bool
}

func newWaiter() *waiter {
	w := new(waiter)
	w.f = w.poll
	return w
}

// poll asks for events without waiting, and therefore without a notice to the scheduler
// (RawSyscall6). To yield, it writes to wakeFD first: the runtime's poller reports an epoll
// instance only when an event arrives there.
func (w *waiter) poll(fd uintptr) bool {
	if w.yield {
		w.yield = false
		one := uint64(1)
		unix.RawSyscall(unix.SYS_WRITE, uintptr(w.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
		return false
	}
	n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), 0, 0, 0)
	w.n = int(n)
	if err != 0 {
		w.n = 0
	}
	return w.n > 0
}

// startWatch starts the timer that calls watch until the table is idle. t.mu is held.
func (t *table) startWatch() {
	switch {
	case t.watching:
		return
	case t.watcher == nil:
		t.watcher = time.AfterFunc(stuckAfter, t.watch)
	default:
		t.watcher.Reset(stuckAfter)
	}
	t.watching = true
}

// watch replaces a lead whose callback has not returned, and closes an empty table.
func (t *table) watch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	same := t.handled == t.seen
	t.seen = t.handled
	if same {
		switch {
		case t.busy:
			if t.inline != nil && t.inline == t.stuckOf && t.handled-t.stuckAt <= slowGap {
				t.inline.slowed(now())
			}
			t.stuckOf, t.stuckAt = t.inline, t.handled
			t.term++
			t.busy = false
			go t.lead(t.term)
		case t.n == 0:
			t.close()
			fallthrough
		default:
			t.watching = false
			return
		}
	}
	t.watcher.Reset(stuckAfter)
}
