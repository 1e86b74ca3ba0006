package idle

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const canPark = true

// tables hold the parked connections of this process, by descriptor. Each has a goroutine of its
// own, so GOMAXPROCS of them are used, at most 64.
var (
	tables   [64]table
	tablesIn = sync.OnceValue(func() int { return min(runtime.GOMAXPROCS(0), len(tables)) })
)

func tableOf(fd int) *table { return &tables[fd%tablesIn()] }

// table is a set of parked connections and the epoll instance that watches their sockets. Its
// goroutine, the lead, waits for events and handles them. A lead whose callback does not return is
// replaced by watch, and ends when the callback has returned.
type table struct {
	mu      sync.Mutex
	entries []entry  // by file descriptor
	n       int      // entries in use
	epoll   *os.File // nil while n is 0
	fd      int      // of epoll

	raw    syscall.RawConn // of epoll
	wakeFD int             // an eventfd that the instance watches

	// The lead.
	term     uint64            // incremented to replace the lead
	events   []unix.EpollEvent // that it handles
	next     int               // the first of them that is not handled
	inline   *InlinePolicy     // of the connection of the last event
	handled  uint64            // events whose handling has begun
	busy     bool              // it handles events
	seen     uint64            // handled at the last call of watch
	stuckOf  *InlinePolicy     // inline when a lead was last replaced
	stuckAt  uint64            // handled then
	watcher  *time.Timer       // calls watch while watching is set
	watching bool
}

// entry is a parked connection.
type entry struct {
	reads  *Reads // nil: not in use
	waker  Waker
	inline *InlinePolicy // nil: the entry is removed when the socket is readable
}

// add registers a connection. Its descriptor must stay open until the entry is removed.
func (t *table) add(fd int, e entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoll == nil && !t.open() {
		return false
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	if e.inline != nil {
		ev.Events = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
	}
	if unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, fd, &ev) != nil {
		t.startWatch()
		return false
	}
	if fd >= len(t.entries) {
		t.entries = append(t.entries, make([]entry, fd+1-len(t.entries))...)
	}
	if old := t.entries[fd]; old.reads != nil {
		// Other code has closed its socket without Close, and the kernel has removed it from epoll.
		go old.wake() // in another goroutine, because Reads.mu is locked before t.mu
	} else {
		t.n++
	}
	t.entries[fd] = e
	return true
}

// remove removes the entry of r and returns its Waker; nil if the lead has removed it. closing is
// set if the socket is closed next, which removes it from epoll.
func (t *table) remove(fd int, r *Reads, closing bool) Waker {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd >= len(t.entries) || t.entries[fd].reads != r {
		return nil
	}
	return t.clear(fd, closing).waker
}

// clear removes an entry whose descriptor is still open. t.mu is held.
func (t *table) clear(fd int, closing bool) entry {
	e := t.entries[fd]
	t.entries[fd] = entry{}
	if !closing {
		unix.EpollCtl(t.fd, unix.EPOLL_CTL_DEL, fd, nil)
	}
	if t.n--; t.n == 0 {
		t.startWatch()
	}
	return e
}

func (t *table) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	unix.SetNonblock(fd, true) // required by the runtime's poller
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return false
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(wakeFD)}
	unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wakeFD, &ev)
	f := os.NewFile(uintptr(fd), "parked connections")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		unix.Close(wakeFD)
		return false
	}
	t.epoll, t.fd, t.raw, t.wakeFD = f, fd, raw, wakeFD
	t.term++
	go t.lead(t.term)
	return true
}

// close ends the lead. t.mu is held.
func (t *table) close() {
	if t.epoll == nil {
		return
	}
	t.epoll.Close() // waits until the lead does not use wakeFD
	unix.Close(t.wakeFD)
	t.epoll, t.raw, t.entries, t.events, t.next, t.inline = nil, nil, nil, nil, 0, nil
	t.term++
}

// wake wakes a connection whose entry was taken out of the table.
func (e entry) wake() {
	e.reads.mu.Lock()
	state := e.reads.state
	e.reads.fd, e.reads.state = 0, notReading
	e.reads.mu.Unlock()
	if state == notReading {
		e.waker.Wake()
	}
}
