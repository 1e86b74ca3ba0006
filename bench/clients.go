package main

import (
	"fmt"
	"syscall"
	"time"

	"goranch/internal/loadgen"
)

const (
	maxOpening   = 128              // connections that are not ready while others are opened; less than any backlog
	stallTimeout = 30 * time.Second // the longest time without an answer
	clientsPerIP = 1                // per source address, so that no address runs out of ports
)

// clients are connections that one thread drives.
type clients struct {
	*loadgen.Poller
	dialer *loadgen.Dialer
	conns  []exchange
	ready  int // connections that advanceFunc has reported as ready
}

// advanceFunc handles an event of connection i. It reports once per connection that it is ready.
type advanceFunc func(i int) (ready bool, err error)

func newClients(cfg loadConfig) (*clients, error) {
	d, err := loadgen.NewDialer(cfg.addr, clientsPerIP)
	if err != nil {
		return nil, err
	}
	p, err := loadgen.NewPoller()
	if err != nil {
		return nil, err
	}
	return &clients{Poller: p, dialer: d}, nil
}

// dial begins to connect from the i-th source address and watches the socket under the number id.
func (c *clients) dial(i, id int) (exchange, error) {
	fd, err := c.dialer.Dial(i)
	if err != nil {
		return exchange{}, err
	}
	return exchange{fd: fd}, c.Add(fd, id)
}

// open connects n clients and waits until all are ready. At most maxOpening connections are not
// ready at a time.
func (c *clients) open(n int, greets bool, advance advanceFunc) error {
	for i := range n {
		x, err := c.dial(i, i)
		if err != nil {
			return err
		}
		x.greeting = greets
		c.conns = append(c.conns, x)
		if err := c.await(maxOpening, advance); err != nil {
			return err
		}
	}
	return c.await(1, advance)
}

// await handles events until fewer than most connections are not ready.
func (c *clients) await(most int, advance advanceFunc) error {
	lastReady := time.Now()
	for len(c.conns)-c.ready >= most {
		before := c.ready
		events, err := c.Wait(100 * time.Millisecond)
		if err != nil {
			return err
		}
		for _, ev := range events {
			ready, err := advance(int(ev.Fd))
			if err != nil {
				return fmt.Errorf("connection %d: %w", ev.Fd+1, err)
			}
			if ready {
				c.ready++
			}
		}
		switch {
		case c.ready > before:
			lastReady = time.Now()
		case time.Since(lastReady) > stallTimeout:
			return fmt.Errorf("only %d of %d connections were answered, and no other within %v", c.ready, len(c.conns), stallTimeout)
		}
	}
	return nil
}

// close closes all connections and the poller.
func (c *clients) close() {
	for i := range c.conns {
		syscall.Close(c.conns[i].fd)
	}
	c.Poller.Close()
}

// echoClients are clients that send a payload and expect it back, or another answer.
type echoClients struct {
	*clients
	payload, answer, buf []byte
}

// openEcho opens n connections and exchanges one request on each, so that the server has in fact
// served it.
func openEcho(cfg loadConfig, n int) (*echoClients, error) {
	c, err := newClients(cfg)
	if err != nil {
		return nil, err
	}
	payload, answer := cfg.exchanged()
	e := &echoClients{clients: c, payload: payload, answer: answer, buf: make([]byte, len(answer))}
	return e, c.open(n, cfg.greets, e.advance)
}

func (e *echoClients) advance(i int) (ready bool, err error) {
	x := &e.conns[i]
	if x.received == len(e.answer) {
		return false, nil // answered before
	}
	return x.advance(e.payload, e.answer, e.buf)
}

// check exchanges one more request on every connection.
func (e *echoClients) check() error {
	e.ready = 0
	for i := range e.conns {
		if err := e.conns[i].request(e.payload); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return e.await(1, e.advance)
}
