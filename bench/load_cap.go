package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

const (
	capQuiet = 300 * time.Millisecond // nobody answered for so long: the server has admitted all it will
	capPause = 2 * time.Millisecond   // after each end, for answers beyond the one that was due
	capStall = 3 * time.Second        // the longest wait for the next answer
)

// capResult is what clients saw at a server with a limit.
type capResult struct {
	WaitsNs   []int64 `json:"waits_ns"`   // from one client's close to the next one's answer
	MaxServed int     `json:"max_served"` // clients answered and not yet gone, at most
	Resets    int     `json:"resets"`     // connections that the server closed or reset
}

// capCrowd is more clients than the server admits. Each has sent its request and waits or has been answered.
type capCrowd struct {
	*poller
	target       *syscall.SockaddrInet4
	payload, buf []byte
	clients      []exchange
	served       []int // numbers of answered clients, the oldest first
	opened       int
	result       capResult
}

// loadCap lets one served client leave, again and again, and times the next one's answer.
func loadCap(cfg loadConfig) error {
	runtime.LockOSThread()
	p, err := newPoller()
	if err != nil {
		return err
	}
	c := &capCrowd{
		poller: p, target: cfg.target(), payload: cfg.payload(),
		buf: make([]byte, cfg.size), clients: make([]exchange, cfg.conns),
	}
	for i := range c.clients {
		if err := c.open(i); err != nil {
			return err
		}
	}
	if err := c.settle(cfg.limit); err != nil {
		return err
	}
	for rep := range cfg.reps {
		if err := c.leaveOne(); err != nil {
			return fmt.Errorf("end %d of %d: %w", rep+1, cfg.reps, err)
		}
	}
	return cfg.say(c.result)
}

func (c *capCrowd) open(i int) error {
	fd, err := dialRaw(c.target, sourceAddr(c.opened))
	if err != nil {
		return err
	}
	c.opened++
	c.clients[i] = exchange{fd: fd}
	return c.add(fd, i, edgeInOut)
}

// settle waits until the first admitted clients have been answered and the rest is left waiting.
func (c *capCrowd) settle(limit int) error {
	deadline := time.Now().Add(10 * time.Second)
	for last := time.Now(); time.Since(last) < capQuiet; {
		before := len(c.served)
		if err := c.pump(10 * time.Millisecond); err != nil {
			return err
		}
		if len(c.served) != before {
			last = time.Now()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not settle: %d clients served after 10 s", len(c.served))
		}
	}
	if len(c.served) < limit {
		return fmt.Errorf("only %d clients were served under a limit of %d", len(c.served), limit)
	}
	return nil
}

// leaveOne closes the client that was served longest and looks, without sleeping, for the next answer.
func (c *capCrowd) leaveOne() error {
	victim := c.served[0]
	c.served = c.served[1:]
	before := len(c.served)
	begin := time.Now()
	syscall.Close(c.clients[victim].fd)
	for len(c.served) <= before {
		if err := c.pump(0); err != nil {
			return err
		}
		if time.Since(begin) > capStall {
			return fmt.Errorf("nobody was served within %v after one left, though others wait", capStall)
		}
	}
	c.result.WaitsNs = append(c.result.WaitsNs, int64(time.Since(begin)))
	if err := c.open(victim); err != nil {
		return err
	}
	for end := time.Now().Add(capPause); time.Now().Before(end); {
		if err := c.pump(time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pump takes in what has happened: answers are counted, a connection that the server ended is counted and replaced.
func (c *capCrowd) pump(timeout time.Duration) error {
	events, err := c.wait(timeout)
	if err != nil {
		return err
	}
	for _, ev := range events {
		i := int(ev.Fd)
		x := &c.clients[i]
		if x.got == len(c.payload) {
			if ev.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
				if err := c.replace(i); err != nil {
					return err
				}
			}
			continue
		}
		done, err := x.advance(c.payload, c.buf)
		switch {
		case err == errWrongAnswer:
			return err
		case err != nil:
			if err := c.replace(i); err != nil {
				return err
			}
		case done:
			c.served = append(c.served, i)
			c.result.MaxServed = max(c.result.MaxServed, len(c.served))
		}
	}
	return nil
}

// replace puts a new client in the place of one that the server has ended.
func (c *capCrowd) replace(i int) error {
	c.result.Resets++
	syscall.Close(c.clients[i].fd)
	for at, n := range c.served {
		if n == i {
			c.served = append(c.served[:at], c.served[at+1:]...)
			break
		}
	}
	return c.open(i)
}
