package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

var (
	errWrongAnswer = errors.New("the answer is not what was sent")
	errPeerClosed  = errors.New("the server closed the connection before it answered")
)

// exchange is one request and its answer over one non-blocking socket.
type exchange struct {
	fd        int
	sent, got int
	greeting  bool // a line comes first
}

// request begins to send the payload; what the socket does not take at once goes out in advance.
func (x *exchange) request(payload []byte) error {
	x.sent, x.got = 0, 0
	return x.flush(payload)
}

// advance does what can be done without waiting and reports whether the answer is complete. It reads once: on an
// edge-triggered descriptor less than was asked for means that there is no more.
func (x *exchange) advance(payload, buf []byte) (done bool, err error) {
	if x.sent < len(payload) {
		if err := x.flush(payload); err != nil {
			return false, err
		}
	}
	if x.greeting {
		if err := x.greeted(); err != nil || x.greeting {
			return false, err
		}
	}
	n, err := x.read(buf[:len(payload)-x.got])
	switch {
	case n == 0:
		return false, err
	case !bytes.Equal(buf[:n], payload[x.got:x.got+n]):
		return false, errWrongAnswer
	}
	x.got += n
	return x.got == len(payload), nil
}

// greeted takes the line that comes first, byte by byte so that nothing behind it is lost.
func (x *exchange) greeted() error {
	var b [1]byte
	for {
		switch n, err := x.read(b[:]); {
		case n == 0:
			return err
		case b[0] == '\n':
			x.greeting = false
			return nil
		}
	}
}

// read reads what has arrived; 0 without an error is nothing at present.
func (x *exchange) read(b []byte) (int, error) {
	n, err := rawIO(syscall.SYS_READ, x.fd, b)
	switch {
	case err == syscall.EAGAIN:
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, errPeerClosed
	}
	return n, nil
}

func (x *exchange) flush(payload []byte) error {
	n, err := rawIO(syscall.SYS_WRITE, x.fd, payload[x.sent:])
	if err == syscall.EAGAIN {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	x.sent += n
	return nil
}

// rawIO reads or writes without telling the Go scheduler, which for a call that never blocks is only a cost.
func rawIO(trap uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// dialRaw begins a non-blocking connect from the source address. A refusal shows at the first write or read.
func dialRaw(to *syscall.SockaddrInet4, source [4]byte) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket (is the limit of open files too low?): %w", err)
	}
	if err := bindSource(fd, source); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	if err := syscall.Connect(fd, to); err != nil && err != syscall.EINPROGRESS {
		syscall.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// bindSource sets only the address; the port is chosen at connect, where the whole pair of addresses counts.
func bindSource(fd int, source [4]byte) error {
	const ipBindAddressNoPort = 24
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
	}
	return os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: source}))
}
