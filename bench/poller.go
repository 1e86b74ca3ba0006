package main

import (
	"os"
	"syscall"
	"time"
)

const (
	edgeIn    = syscall.EPOLLIN | syscall.EPOLLRDHUP | 1<<31 // EPOLLET is negative in package syscall
	edgeInOut = edgeIn | syscall.EPOLLOUT
)

// poller waits for many sockets in one thread. The number given to add comes back in EpollEvent.Fd.
type poller struct {
	fd     int
	events []syscall.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &poller{fd: fd, events: make([]syscall.EpollEvent, 512)}, nil
}

func (p *poller) add(fd, number int, events uint32) error {
	ev := syscall.EpollEvent{Events: events, Fd: int32(number)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &ev))
}

// wait returns what is ready, nothing after the timeout. Zero looks and does not wait.
func (p *poller) wait(timeout time.Duration) ([]syscall.EpollEvent, error) {
	n, err := syscall.EpollWait(p.fd, p.events, int(timeout.Milliseconds()))
	if err == syscall.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("epoll_wait", err)
	}
	return p.events[:n], nil
}

func (p *poller) close() { syscall.Close(p.fd) }
