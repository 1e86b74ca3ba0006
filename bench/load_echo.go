package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// openAhead is how many connections may wait for their first answer while many are opened: less than any backlog.
const openAhead = 128

// crowd waits for one answer on each of its connections.
type crowd struct {
	*poller
	payload, buf []byte
	conns        []exchange
	answered     int
	deadline     time.Time
}

func newCrowd(cfg loadConfig) (*crowd, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	payload := cfg.payload()
	return &crowd{
		poller: p, payload: payload, buf: make([]byte, len(payload)), deadline: time.Now().Add(30 * time.Second),
	}, nil
}

// pump takes in answers until fewer than most are outstanding.
func (c *crowd) pump(most int) error {
	for len(c.conns)-c.answered >= most {
		events, err := c.wait(100 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			x := &c.conns[ev.Fd]
			if x.got == len(c.payload) {
				continue
			}
			done, err := x.advance(c.payload, c.buf)
			if err != nil {
				return fmt.Errorf("connection %d: %w", ev.Fd+1, err)
			}
			if done {
				c.answered++
			}
		}
		if time.Now().After(c.deadline) {
			return fmt.Errorf("only %d of %d connections were answered within 30 s", c.answered, len(c.conns))
		}
	}
	return nil
}

// openEchoed opens n connections, each of which has been answered once, so that the server has really served it.
func openEchoed(cfg loadConfig, n int) ([]exchange, error) {
	c, err := newCrowd(cfg)
	if err != nil {
		return nil, err
	}
	defer c.close()
	target := cfg.target()
	for i := range n {
		fd, err := dialRaw(target, sourceAddr(i))
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, exchange{fd: fd, greeting: cfg.greets})
		if err := errors.Join(c.add(fd, i, edgeInOut), c.pump(openAhead)); err != nil {
			return nil, err
		}
	}
	return c.conns, c.pump(1)
}

// echoAgain sends one request on every connection and waits for all answers.
func echoAgain(cfg loadConfig, conns []exchange) error {
	c, err := newCrowd(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	c.conns = conns
	for i := range conns {
		if err := errors.Join(conns[i].request(c.payload), c.add(conns[i].fd, i, edgeInOut)); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return c.pump(1)
}

// loadEcho keeps one request in flight on each connection.
func loadEcho(cfg loadConfig) error {
	runtime.LockOSThread()
	conns, err := openEchoed(cfg, cfg.conns)
	if err != nil {
		return err
	}
	p, err := newPoller()
	if err != nil {
		return err
	}
	payload := cfg.payload()
	buf := make([]byte, len(payload))
	for i := range conns {
		err := errors.Join(p.add(conns[i].fd, i, edgeInOut), conns[i].request(payload))
		if err != nil {
			return err
		}
	}
	var ops int64
	result, err := driveWindow(cfg, &ops, func() error {
		events, err := p.wait(50 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			x := &conns[ev.Fd]
			done, err := x.advance(payload, buf)
			if err == nil && done {
				ops++
				err = x.request(payload)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return cfg.say(result)
}
