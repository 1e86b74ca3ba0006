package main

import (
	"runtime"
	"syscall"
	"time"
)

// churnClients repeat: connect, one exchange, reset. Each socket is used for all connections of its
// slot: creating sockets would cost the generator more than the server pays for a connection, and
// the generator would measure itself.
type churnClients struct {
	*clients
	payload, answer, buf []byte
	ops                  int64
}

func loadChurn(cfg loadConfig) error {
	runtime.LockOSThread()
	base, err := newClients(cfg)
	if err != nil {
		return err
	}
	payload, answer := cfg.exchanged()
	c := &churnClients{clients: base, payload: payload, answer: answer, buf: make([]byte, len(answer))}
	for i := range cfg.conns {
		x, err := c.dial(i, i)
		if err != nil {
			return err
		}
		if err := x.request(c.payload); err != nil {
			return err
		}
		c.conns = append(c.conns, x)
	}
	result, err := driveWindow(cfg, &c.ops, c.turn)
	if err != nil {
		return err
	}
	return cfg.send(result)
}

func (c *churnClients) turn() error {
	events, err := c.Wait(50 * time.Millisecond)
	if err != nil {
		return err
	}
	for _, ev := range events {
		x := &c.conns[ev.Fd]
		if ev.Events&syscall.EPOLLIN == 0 && x.sent == len(c.payload) && ev.Events&syscall.EPOLLERR == 0 {
			continue // caused by our own reset or connect
		}
		done, err := x.advance(c.payload, c.answer, c.buf)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		c.ops++
		if err := c.reconnect(x); err != nil {
			return err
		}
	}
	return nil
}

// reconnect begins the next connection of a slot. On loopback the connection is established when
// connect returns, so that the request is usually sent at once.
func (c *churnClients) reconnect(x *exchange) error {
	if err := c.dialer.Reconnect(x.fd); err != nil {
		return err
	}
	return x.request(c.payload)
}
