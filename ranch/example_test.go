package ranch_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// A listener that greets each client.
func Example() {
	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		_, err := io.WriteString(conn, "hello\n")
		return err
	})
	opts := ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 100, Logger: slog.New(slog.DiscardHandler)}
	l, err := ranch.StartListener("hello", transport.TCP{}, opts, hello)
	if err != nil {
		log.Fatal(err)
	}
	err = l.SetMaxConnections(200) // while it runs
	fmt.Println(err)

	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	answer, err := io.ReadAll(nc)
	fmt.Printf("%s%v\n", answer, err)

	err = l.Stop() // waits for connections to end
	fmt.Println(err)
	// Output:
	// <nil>
	// hello
	// <nil>
	// <nil>
}

// Every fault of the arguments is reported at once.
func ExampleStartListener_badOptions() {
	_, err := ranch.StartListener("hello", transport.TCP{}, ranch.Options{Addr: "localhost", MaxConnections: -1}, echo.Protocol{})
	fmt.Println(errors.Is(err, ranch.ErrBadOption))
	fmt.Println(err)
	// Output:
	// true
	// ranch: start hello: bad option: option MaxConnections -1: allowed are positive numbers, 0 for 1024, and Unlimited
	// bad option: Addr: address "localhost": bad address: use "host:port", "[ipv6]:port", "unix:/path", "unix:@name", "fd:N" or "systemd:NAME"
}

// The cap of a running listener is raised: the client that had to wait is served.
func ExampleSetMaxConnections() {
	mem := new(transport.Mem)
	_, err := ranch.StartListener("echo", mem, ranch.Options{Addr: "echo", MaxConnections: 1, Logger: slog.New(slog.DiscardHandler)}, echo.Protocol{})
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.Drain(context.Background(), "echo")

	ctx := context.Background()
	for range 2 {
		nc, err := mem.Dial(ctx, "echo") // the second one waits in the queue
		if err != nil {
			log.Fatal(err)
		}
		defer nc.Close()
	}
	ranch.WaitForConnections(ctx, "echo", ranch.Equal, 1)
	ranch.SetMaxConnections("echo", 10)
	ranch.WaitForConnections(ctx, "echo", ranch.Equal, 2)

	info, err := ranch.Info("echo")
	fmt.Printf("%d of %d, %v\n", info.ActiveConnections, info.MaxConnections, err)
	// Output: 2 of 10, <nil>
}

// Listeners without a server, which run until the program ends.
func ExampleListener_Run() {
	var listening sync.WaitGroup
	mem, opts := new(transport.Mem), ranch.Options{Logger: slog.New(slog.DiscardHandler)}
	opts.PostListen = func(net.Listener) error { listening.Done(); return nil }
	ctx, cancel := context.WithCancel(context.Background()) // in a program, signal.NotifyContext
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{"public", "internal"} {
		listening.Add(1)
		opts.Addr = name
		l, err := ranch.NewListener(name, mem, opts, echo.Protocol{})
		if err != nil {
			log.Fatal(err)
		}
		g.Go(func() error { return l.Run(ctx) })
	}
	g.Go(func() error { // the rest of the program
		defer cancel()
		listening.Wait()
		nc, err := mem.Dial(ctx, "internal")
		if err == nil {
			err = nc.Close()
		}
		return err
	})
	fmt.Println(g.Wait())
	// Output: <nil>
}

// Waiting until there are few enough connections.
func ExampleWaitForConnections() {
	mem := new(transport.Mem)
	if _, err := ranch.StartListener("echo", mem, ranch.Options{Addr: "echo", Logger: slog.New(slog.DiscardHandler)}, echo.Protocol{}); err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("echo")

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nc, err := mem.Dial(ctx, "echo")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ranch.WaitForConnections(ctx, "echo", ranch.GreaterEqual, 1))
	nc.Close()
	fmt.Println(ranch.WaitForConnections(ctx, "echo", ranch.Less, 1))
	// Output:
	// <nil>
	// <nil>
}

// An observer of connections that failed.
func ExampleOptions_observer() {
	ended := make(chan ranch.Event, 10)
	observer := func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded && e.Reason != conns.Finished {
			ended <- e // it must be quick: the connection's goroutine waits
		}
	}
	mem := new(transport.Mem)
	_, err := ranch.StartListener("picky", mem, ranch.Options{Addr: "picky", Observer: observer, Logger: slog.New(slog.DiscardHandler)},
		protocol.Func(func(context.Context, *transport.Conn) error { return errors.New("bad request") }))
	if err != nil {
		log.Fatal(err)
	}
	defer ranch.StopListener("picky")

	nc, err := mem.Dial(context.Background(), "picky")
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	e := <-ended
	fmt.Printf("%s: %v: %v\n", e.Ref, e.Reason, e.Err)
	// Output: picky: failed: bad request
}

// A drain: no connection is accepted any more, and work in progress is finished.
func ExampleDrain() {
	working := make(chan struct{})
	slow := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			close(working)
			<-ctx.Done() // work goes on although the listener stops
			fmt.Fprintf(conn, "done: %s\n", lines.Text())
		}
		return lines.Err()
	})
	mem := new(transport.Mem)
	if _, err := ranch.StartListener("slow", mem, ranch.Options{Addr: "slow", Logger: slog.New(slog.DiscardHandler)}, slow); err != nil {
		log.Fatal(err)
	}
	nc, err := mem.Dial(context.Background(), "slow")
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintln(nc, "work")
	<-working

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(ranch.Drain(ctx)) // all listeners
	answer, err := io.ReadAll(nc)
	fmt.Printf("%s%v\n", answer, err)
	// Output:
	// <nil>
	// done: work
	// <nil>
}
