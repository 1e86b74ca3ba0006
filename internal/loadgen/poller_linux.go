package loadgen

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// PeerClosed are the bits of Event.Events that report the end of a connection.
const PeerClosed = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

// Event reports that a descriptor is ready. Its field Fd is the id that was passed to Add, not the
// descriptor.
type Event = unix.EpollEvent

// Poller waits until any of many descriptors is ready. It is not safe for concurrent use.
type Poller struct {
	fd     int
	events []Event
}

// NewPoller returns a poller without descriptors. The caller must close it.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Poller{fd: fd, events: make([]Event, 512)}, nil
}

// Add watches a socket, edge-triggered: an event is reported once when data or free buffer space
// arrives, or when the peer closes.
func (p *Poller) Add(fd, id int) error {
	return p.add(fd, id, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// AddReader watches a descriptor for data, level-triggered: an event is reported as long as there
// is unread data.
func (p *Poller) AddReader(fd, id int) error { return p.add(fd, id, unix.EPOLLIN) }

func (p *Poller) add(fd, id int, events uint32) error {
	ev := Event{Events: events, Fd: int32(id)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// Wait waits for events, at most for the timeout, which is rounded down to milliseconds; with 0 it
// does not wait. The slice is valid until the next call. It is empty if there are no events.
func (p *Poller) Wait(timeout time.Duration) ([]Event, error) {
	n, err := unix.EpollWait(p.fd, p.events, int(timeout.Milliseconds()))
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("epoll_wait", err)
	}
	return p.events[:n], nil
}

// Close closes the poller. The watched descriptors stay open.
func (p *Poller) Close() { unix.Close(p.fd) }
