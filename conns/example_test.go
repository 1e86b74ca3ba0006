package conns_test

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// A gate of two slots: the third acceptor has to wait, here until the limit is raised.
func ExampleGate() {
	ctx := context.Background()
	gate := conns.NewGate(2)
	for range 2 {
		gate.Reserve(ctx) // before accept
		gate.Confirm(ctx) // there is a connection
	}
	fmt.Println("room for a third:", gate.TryReserve())

	third := make(chan error)
	go func() { third <- gate.Reserve(ctx) }()
	gate.SetLimit(3)
	fmt.Println("a third after all:", <-third == nil)
	gate.Cancel() // but nobody came

	gate.Release() // the first has ended
	s := gate.State()
	fmt.Printf("%d of %d in use, %d at most\n", s.Used, s.Limit, s.Peak)
	// Output:
	// room for a third: false
	// a third after all: true
	// 1 of 3 in use, 2 at most
}

// Wait is for tests and for operators: it returns as soon as the number of slots in use
// is as asked for.
func ExampleGate_Wait() {
	ctx := context.Background()
	gate := conns.NewGate(conns.Unlimited)
	gate.Reserve(ctx)
	gate.Confirm(ctx)

	empty := make(chan error)
	go func() { empty <- gate.Wait(ctx, func(used int) bool { return used == 0 }) }()
	gate.Release()
	fmt.Println("empty:", <-empty == nil)
	// Output: empty: true
}

// A server of one acceptor, which greets each peer, and is stopped while one is connected.
func ExampleSupervisor() {
	gate := conns.NewGate(100)
	sup := conns.New(conns.Config{
		Gate:  gate,
		Ended: func(e conns.ConnEnd) { fmt.Println("ended:", e.Reason) },
	})
	greet := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		fmt.Fprintln(conn, "hello")
		_, err := conn.Read(make([]byte, 1)) // until the peer closes, or the server stops
		if err != nil {
			fmt.Fprintln(conn, "goodbye") // still arrives
		}
		return err
	})

	ctx := context.Background()
	tcp := transport.TCP{}
	ln, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	acceptor := make(chan error, 1)
	go func() { acceptor <- accept(ctx, ln, gate, sup, greet) }()

	peer, err := tcp.Dial(ctx, ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	lines := bufio.NewScanner(peer)
	lines.Scan()
	fmt.Println("peer reads:", lines.Text())
	fmt.Println("live:", len(list(sup)))

	ln.Close()
	<-acceptor
	if err := sup.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	lines.Scan()
	fmt.Println("peer reads:", lines.Text())
	c := sup.Counters()
	fmt.Printf("accepted %d, served %d, live %d\n", c.Accepted, c.Served, c.Live)
	// Output:
	// peer reads: hello
	// live: 1
	// ended: shutdown
	// peer reads: goodbye
	// accepted 1, served 1, live 0
}

func accept(ctx context.Context, ln net.Listener, gate *conns.Gate, sup *conns.Supervisor, p protocol.Protocol) error {
	for {
		if err := gate.Reserve(ctx); err != nil {
			return err
		}
		nc, err := ln.Accept()
		if err != nil {
			gate.Cancel()
			return err
		}
		if err := gate.Confirm(ctx); err != nil {
			sup.Refuse(transport.TCP{}, nc)
			return err
		}
		sup.Start(ctx, transport.TCP{}, nc, p)
	}
}
