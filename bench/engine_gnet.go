package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
)

func init() {
	register(engine{
		name: "gnet", about: "gnet v2, one event loop, plain TCP only",
		start: startGnet,
	})
}

// gnetEcho echoes and reports the address of the engine.
type gnetEcho struct {
	gnet.BuiltinEventEngine
	booted chan gnetBoot
}

type gnetBoot struct {
	addr string
	err  error
}

func startGnet(serveConfig) (string, error) {
	h := &gnetEcho{booted: make(chan gnetBoot, 2)}
	go func() {
		// By default gnet accepts in a loop of its own, which hands connections to the event loop.
		// With WithReusePort(true) the event loop would accept; that costs slightly more in churn.
		err := gnet.Run(h, "tcp://127.0.0.1:0", gnet.WithNumEventLoop(1))
		h.booted <- gnetBoot{err: errors.Join(errors.New("gnet stopped"), err)}
	}()
	select {
	case b := <-h.booted:
		return b.addr, b.err
	case <-time.After(5 * time.Second):
		return "", errors.New("gnet did not start within 5 s")
	}
}

func (h *gnetEcho) OnBoot(eng gnet.Engine) gnet.Action {
	addr, err := gnetAddr(eng)
	h.booted <- gnetBoot{addr, err}
	return gnet.None
}

func (h *gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	buf, _ := c.Next(-1)
	if _, err := c.Write(buf); err != nil {
		return gnet.Close
	}
	return gnet.None
}

// gnetAddr asks the kernel for the port, because gnet reports ":0".
func gnetAddr(eng gnet.Engine) (string, error) {
	fd, err := eng.Dup()
	if err != nil {
		return "", fmt.Errorf("duplicate gnet's listening socket: %w", err)
	}
	defer syscall.Close(fd)
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("address of gnet's listening socket: %w", err)
	}
	in4, ok := sa.(*syscall.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("gnet listens on %T, want an IPv4 address", sa)
	}
	return fmt.Sprintf("127.0.0.1:%d", in4.Port), nil
}
