package redial

import (
	"context"
	"net"
	"sync"
)

// Conn is one connection of a client, with the goroutines that read and write it. A client embeds
// it in its own connection type. The zero value is not usable before Start. All methods may be
// called from any goroutine.
type Conn struct {
	Net net.Conn // set by Start

	done  chan struct{} // closed when the connection has ended
	tasks sync.WaitGroup
	stop  func() bool // detaches the connection from the context of Start

	mu  sync.Mutex
	err error // why the connection ended; set before done is closed
}

// Start takes ownership of nc and runs each task in a goroutine of its own. A task returns when
// Done is closed or when a read or write of Net fails. When ctx is canceled the connection ends
// with its cause. Start is called once, before any other method.
func (c *Conn) Start(ctx context.Context, nc net.Conn, tasks ...func()) {
	c.Net, c.done = nc, make(chan struct{})
	c.stop = context.AfterFunc(ctx, func() { c.Fail(context.Cause(ctx)) })
	for _, t := range tasks {
		c.tasks.Go(t)
	}
}

// Fail ends the connection with err, which must not be nil, and closes Net. Only the first call
// has an effect. It does not wait for the tasks.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.done)
		c.Net.Close()
	}
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns the error with which the connection ended; nil while it is open.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Wait blocks until the connection has ended and all tasks have returned.
func (c *Conn) Wait() {
	c.tasks.Wait()
	c.stop()
}
