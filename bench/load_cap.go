package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	"goranch/internal/loadgen"
)

const (
	capQuiet         = 300 * time.Millisecond // without an answer for this time, the server has admitted all that it admits
	capSettleTimeout = 10 * time.Second
	capPause         = 2 * time.Millisecond // after each answer, to observe answers beyond the limit
	capStall         = 3 * time.Second      // the longest wait for the next answer
)

// capResult is what the clients of a server with a limit observed.
type capResult struct {
	WaitsNs   []int64 `json:"waits_ns"`   // from a client's close to the answer of the next client
	MaxServed int     `json:"max_served"` // the highest number of clients that were answered and had not closed
	Resets    int     `json:"resets"`     // connections that the server closed or reset
}

// capClients are more clients than the server admits. Each has sent its request and waits for the
// answer, or has been answered.
type capClients struct {
	*clients
	payload, buf []byte
	served       []int // indexes of answered clients, in the order of their answers
	opened       int
	result       capResult
}

// loadCap closes one served connection after the other and measures the time until the next client
// is answered.
func loadCap(cfg loadConfig) error {
	runtime.LockOSThread()
	base, err := newClients(cfg)
	if err != nil {
		return err
	}
	c := &capClients{clients: base, payload: cfg.payload(), buf: make([]byte, cfg.size)}
	c.conns = make([]exchange, cfg.conns)
	for i := range c.conns {
		if err := c.open(i); err != nil {
			return err
		}
	}
	if err := c.settle(cfg.limit); err != nil {
		return err
	}
	for rep := range cfg.reps {
		if err := c.replaceServed(); err != nil {
			return fmt.Errorf("close %d of %d: %w", rep+1, cfg.reps, err)
		}
	}
	return cfg.send(c.result)
}

// open connects a new client as connection i.
func (c *capClients) open(i int) (err error) {
	c.conns[i], err = c.dial(c.opened, i)
	c.opened++
	return err
}

// settle waits until the server has answered all clients that it admits.
func (c *capClients) settle(limit int) error {
	deadline := time.Now().Add(capSettleTimeout)
	for last := time.Now(); time.Since(last) < capQuiet; {
		before := len(c.served)
		if err := c.pump(10 * time.Millisecond); err != nil {
			return err
		}
		if len(c.served) != before {
			last = time.Now()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server still admits clients after %v: %d were answered", capSettleTimeout, len(c.served))
		}
	}
	if len(c.served) < limit {
		return fmt.Errorf("%d clients were answered under a limit of %d", len(c.served), limit)
	}
	return nil
}

// replaceServed closes the client that was answered first and waits for the next answer. It polls
// without sleeping, so that a wake-up of the generator is not part of the measured time.
func (c *capClients) replaceServed() error {
	closed := c.served[0]
	c.served = c.served[1:]
	before := len(c.served)
	begin := time.Now()
	syscall.Close(c.conns[closed].fd)
	for len(c.served) <= before {
		if err := c.pump(0); err != nil {
			return err
		}
		if time.Since(begin) > capStall {
			return fmt.Errorf("no waiting client was answered within %v after one closed", capStall)
		}
	}
	c.result.WaitsNs = append(c.result.WaitsNs, int64(time.Since(begin)))
	if err := c.open(closed); err != nil {
		return err
	}
	for end := time.Now().Add(capPause); time.Now().Before(end); {
		if err := c.pump(time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pump handles events: it counts answers, and counts and replaces connections that the server
// closed.
func (c *capClients) pump(timeout time.Duration) error {
	events, err := c.Wait(timeout)
	if err != nil {
		return err
	}
	for _, ev := range events {
		i := int(ev.Fd)
		x := &c.conns[i]
		if x.received == len(c.payload) {
			if ev.Events&loadgen.PeerClosed != 0 {
				if err := c.replaceClosed(i); err != nil {
					return err
				}
			}
			continue
		}
		done, err := x.advance(c.payload, c.payload, c.buf)
		switch {
		case err == errWrongAnswer:
			return err
		case err != nil:
			if err := c.replaceClosed(i); err != nil {
				return err
			}
		case done:
			c.served = append(c.served, i)
			c.result.MaxServed = max(c.result.MaxServed, len(c.served))
		}
	}
	return nil
}

// replaceClosed connects a new client in place of one that the server closed.
func (c *capClients) replaceClosed(i int) error {
	c.result.Resets++
	syscall.Close(c.conns[i].fd)
	if at := slices.Index(c.served, i); at >= 0 {
		c.served = slices.Delete(c.served, at, at+1)
	}
	return c.open(i)
}
