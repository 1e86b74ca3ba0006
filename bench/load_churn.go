package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// churner keeps a number of short lives going: connect, one echo, reset. To the server each is a client that closes
// with linger 0, so that no port is left in TIME_WAIT. The generator's own sockets are used again, by connecting them
// to nowhere in between: making new ones would cost it more than the server pays, and it would measure itself.
type churner struct {
	*poller
	target       *syscall.SockaddrInet4
	payload, buf []byte
	slots        []exchange
	ops          int64
}

func loadChurn(cfg loadConfig) error {
	runtime.LockOSThread()
	p, err := newPoller()
	if err != nil {
		return err
	}
	c := &churner{
		poller: p, target: cfg.target(), payload: cfg.payload(),
		buf: make([]byte, cfg.size), slots: make([]exchange, cfg.conns),
	}
	for i := range c.slots {
		x := &c.slots[i]
		if x.fd, err = dialRaw(c.target, sourceAddr(i)); err != nil {
			return err
		}
		if err := c.add(x.fd, i, edgeInOut); err != nil {
			return err
		}
		if err := x.request(c.payload); err != nil {
			return err
		}
	}
	result, err := driveWindow(cfg, &c.ops, c.turn)
	if err != nil {
		return err
	}
	return cfg.say(result)
}

func (c *churner) turn() error {
	events, err := c.wait(50 * time.Millisecond)
	if err != nil {
		return err
	}
	for _, ev := range events {
		x := &c.slots[ev.Fd]
		if ev.Events&syscall.EPOLLIN == 0 && x.sent == len(c.payload) && ev.Events&syscall.EPOLLERR == 0 {
			continue // the echo of our own reset or connect
		}
		done, err := x.advance(c.payload, c.buf)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		c.ops++
		if err := c.again(x); err != nil {
			return err
		}
	}
	return nil
}

// again resets the connection and begins the next life. On loopback the connection stands when connect returns, so
// that the request usually leaves at once.
func (c *churner) again(x *exchange) error {
	nowhere := syscall.RawSockaddr{Family: syscall.AF_UNSPEC}
	_, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(x.fd), uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
	if errno != 0 {
		return os.NewSyscallError("connect to AF_UNSPEC", errno)
	}
	if err := syscall.Connect(x.fd, c.target); err != nil && err != syscall.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return x.request(c.payload)
}
