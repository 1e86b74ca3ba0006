package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/cloudwego/netpoll"
)

func init() {
	register(engine{
		name: "netpoll", about: "cloudwego/netpoll, one poller, plain TCP only",
		start: startNetpoll,
	})
}

func startNetpoll(serveConfig) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	loop, err := netpoll.NewEventLoop(netpollEcho)
	if err != nil {
		return "", err
	}
	go func() {
		if err := loop.Serve(ln); err != nil {
			fmt.Fprintln(os.Stderr, "netpoll stopped:", err)
			os.Exit(1)
		}
	}()
	return ln.Addr().String(), nil
}

// netpollEcho is called when data has arrived.
func netpollEcho(_ context.Context, conn netpoll.Connection) error {
	in, out := conn.Reader(), conn.Writer()
	frame, err := in.Next(in.Len())
	if err != nil {
		return err
	}
	if _, err := out.WriteBinary(frame); err != nil {
		return err
	}
	if err := out.Flush(); err != nil { // Release must not run before frame is written
		return err
	}
	return in.Release()
}
