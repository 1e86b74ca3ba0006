package upgrade_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/upgrade"
	"goranch/transport"
)

// A server that is upgraded by a signal. Started again by Upgrade, the same code is the successor.
func Example() {
	u, err := upgrade.New(upgrade.Options{Limit: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	echo := protocol.Func(func(_ context.Context, c *transport.Conn) error {
		_, err := io.Copy(c, c)
		return err
	})
	var server ranch.Server
	l, err := server.StartListener("echo", u.Transport("echo", transport.TCP{}),
		ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, echo)
	if err != nil {
		u.Fail(err)
		fmt.Println(err)
		return
	}
	if err := u.Ready(context.Background()); err != nil {
		fmt.Println(err) // the predecessor continues to serve
		return
	}

	requests := make(chan os.Signal, 1)
	signal.Notify(requests) // of a program: syscall.SIGUSR2
	stop := make(chan struct{})
	go func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			fmt.Fprintln(nc, "hello")
			io.CopyN(os.Stdout, nc, 6)
			nc.Close()
		}
		close(stop)
	}()
	for serving := true; serving; {
		select {
		case <-requests:
			go func() {
				if _, err := u.Upgrade(context.Background(), nil); err != nil {
					fmt.Println(err)
				}
			}()
		case <-u.HandedOver():
			serving = false
		case <-stop:
			u.Stop()
			serving = false
		}
	}
	signal.Stop(requests)
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(server.Drain(limit))
	// Output:
	// hello
	// <nil>
}
