package redial_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"goranch/internal/redial"
	"goranch/transport"
)

// lineLink is the link of a client that prints the lines that a server sends.
type lineLink struct {
	redial.Conn
	lines chan string
}

func (l *lineLink) read() {
	s := bufio.NewScanner(l.Net)
	for s.Scan() {
		select {
		case l.lines <- s.Text():
		case <-l.Done():
		}
	}
	l.Fail(errors.New("closed by the server"))
}

// A client that reads one line from each connection. The server closes each connection after its
// line, so the client connects again.
func Example() {
	mem := new(transport.Mem)
	ln, err := mem.Listen(context.Background(), "lines")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	go func() {
		for n := 1; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(nc, "connection %d\n", n)
			nc.Close()
		}
	}()

	lines := make(chan string)
	var c *redial.Connector[*lineLink]
	newLink := func(nc net.Conn) *lineLink {
		l := &lineLink{lines: lines}
		l.Start(c.Context(), nc, l.read)
		return l
	}
	noHandshake := func(context.Context, *lineLink) error { return nil }
	opts := redial.Options{Transport: mem, Addr: "lines", MinBackoff: time.Millisecond}
	c = redial.New(context.Background(), opts, redial.Hooks[*lineLink]{
		Connect: func(ctx context.Context) (*lineLink, error) { return c.Open(ctx, newLink, noHandshake) },
	})
	if err := c.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-lines)
	fmt.Println(<-lines)
	c.Close(errors.New("the example is over"))
	fmt.Println(c.Err())
	// Output:
	// connection 1
	// connection 2
	// the example is over
}
