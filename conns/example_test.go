package conns_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

func ExampleNetworks() {
	var networks conns.Networks
	err := networks.Add(
		conns.NetworkRule{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Deny: true, Reason: "port scan"},
		conns.NetworkRule{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Exempt: true},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, addr := range []string{"192.0.2.1", "192.0.2.7", "198.51.100.1"} {
		rule, found := networks.Lookup(netip.MustParseAddr(addr))
		fmt.Println(addr, found, rule.Deny, rule.Exempt)
	}
	// Output:
	// 192.0.2.1 true true false
	// 192.0.2.7 true false true
	// 198.51.100.1 false false false
}

func ExampleShared() {
	shared, err := conns.NewShared(conns.SharedLimits{MaxConnections: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	a, b := shared.NewGate(10), shared.NewGate(10) // package ranch does this for Options.Shared
	fmt.Println(a.TryReserve(), b.TryReserve())
	a.Cancel()
	fmt.Println(b.TryReserve())
	// Output:
	// true false
	// true
}

// A gate with two slots: the third acceptor waits, here until the limit is raised.
func ExampleGate() {
	ctx := context.Background()
	gate := conns.NewGate(2)
	for range 2 {
		gate.Reserve(ctx) // before accept
		gate.Confirm(ctx) // after accept
	}
	fmt.Println("a third at once:", gate.TryReserve())

	third := make(chan error)
	go func() { third <- gate.Reserve(ctx) }()
	gate.SetLimit(3)
	fmt.Println("a third with a higher limit:", <-third == nil)
	gate.Cancel() // accept returned no connection

	gate.Release() // the first connection has ended
	s := gate.State()
	fmt.Printf("%d of %d in use, %d at most\n", s.Used, s.Limit, s.Peak)
	// Output:
	// a third at once: false
	// a third with a higher limit: true
	// 1 of 3 in use, 2 at most
}

// Wait returns as soon as the number of slots in use satisfies the condition.
func ExampleGate_Wait() {
	ctx := context.Background()
	gate := conns.NewGate(math.MaxInt)
	gate.Reserve(ctx)
	gate.Confirm(ctx)

	empty := make(chan error)
	go func() { empty <- gate.Wait(ctx, func(used int) bool { return used == 0 }) }()
	gate.Release()
	fmt.Println("empty:", <-empty == nil)
	// Output: empty: true
}

// A server with one acceptor, which is stopped while a client is connected.
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
			fmt.Fprintln(conn, "goodbye") // writes still work
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
	if err := sup.Drain(ctx, conns.DrainOptions{}); err != nil {
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
			sup.Refuse(ctx, conns.Refused, transport.TCP{}, nc, p)
			return err
		}
		sup.Start(ctx, transport.TCP{}, nc, p)
	}
}
