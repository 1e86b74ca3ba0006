// Command room broadcasts messages to many clients in one group, some of which stop reading. It
// prints how long a broadcast takes to reach all clients that read, first without the other clients
// and then with them, and why connections ended. The clients run in a second process, because each
// end of a connection needs a descriptor:
//
//	go run ./room -clients 10000 -silent 100
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/packet"
	"goranch/ranch"
	"goranch/transport"
)

var (
	clients = flag.Int("clients", 1000, "number of clients")
	silent  = flag.Int("silent", 10, "number of clients that read nothing")
	size    = flag.Int("size", 4096, "bytes of a message")
	count   = flag.Int("count", 100, "number of messages; enough to fill the queues of the silent clients")
	child   = flag.String("child", "", "run the clients of the server at this address (used internally)")
)

func main() {
	flag.Parse()
	run := serve
	if *child != "" {
		run = runClients
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// serve runs the server and starts the process of the clients.
func serve() error {
	joined := make(chan struct{}, *clients)
	received := make(chan time.Time, *clients) // when a client has confirmed a message
	s, group, err := newServer(joined, received)
	if err != nil {
		return err
	}
	l, err := ranch.StartListener("room", transport.TCP{WriteBuffer: 32 << 10}, ranch.Options{
		Addr: "127.0.0.1:0", MaxConnections: ranch.Unlimited, ShutdownTimeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "-child", l.Addr().String(), fmt.Sprint("-clients=", *clients), fmt.Sprint("-silent=", *silent))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer in.Close() // the process exits at the end of its stdin
	readers := *clients - *silent
	for range readers {
		<-joined
	}
	fmt.Printf("%d clients, %d of them silent, messages of %d bytes\n", *clients, *silent, *size)
	if err := measure("without silent clients", group, received, readers); err != nil {
		return err
	}
	io.WriteString(in, "silent\n")
	for range *silent {
		<-joined
	}
	if err := measure("with silent clients", group, received, readers); err != nil {
		return err
	}
	if err := l.Stop(); err != nil {
		return err
	}
	return report(l)
}

// newServer returns a server with the methods join and done, and the group that join adds a client
// to. A client calls done when it has received a message.
func newServer(joined chan<- struct{}, received chan<- time.Time) (*packet.Server, *packet.Group, error) {
	s, err := packet.NewServer(packet.Options{FramesPerSecond: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 10}})
	if err != nil {
		return nil, nil, err
	}
	group := s.NewGroup()
	err = errors.Join(
		packet.Register(s, "join", func(call *packet.Call, _ struct{}) (bool, error) {
			defer func() { joined <- struct{}{} }()
			return true, group.Join(call.Peer)
		}),
		packet.Register(s, "done", func(*packet.Call, struct{}) (bool, error) {
			received <- time.Now()
			return true, nil
		}),
	)
	return s, group, err
}

// measure broadcasts messages, each when every reading client has received the one before.
func measure(what string, group *packet.Group, received <-chan time.Time, readers int) error {
	text := strings.Repeat("x", *size)
	var sum, longest time.Duration
	for range *count {
		began := time.Now()
		if _, err := group.Notify("message", text); err != nil {
			return err
		}
		var last time.Time
		for range readers {
			if t := <-received; t.After(last) {
				last = t
			}
		}
		d := last.Sub(began)
		sum, longest = sum+d, max(longest, d)
	}
	fmt.Printf("%-22s  a broadcast reaches %d clients in %v on average, %v at most\n", what, readers,
		(sum / time.Duration(*count)).Round(10*time.Microsecond), longest.Round(10*time.Microsecond))
	return nil
}

// report prints the reasons why connections ended.
func report(l *ranch.Listener) error {
	info := l.Info()
	for _, r := range slices.Sorted(maps.Keys(info.Reasons)) {
		fmt.Printf("closed connections: %d, reason %v\n", info.Reasons[r], r)
	}
	if n := info.Reasons[conns.QueueFull]; n != uint64(*silent) {
		return fmt.Errorf("%d connections were closed with a full queue, want %d: raise -count or -size to fill the queues", n, *silent)
	}
	return nil
}

// runClients runs the clients. A line on stdin starts the silent ones.
func runClients() error {
	var all sync.WaitGroup
	for range *clients - *silent {
		nc, err := join()
		if err != nil {
			return err
		}
		all.Go(func() { read(nc) })
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for range *silent {
		nc, err := join()
		if err != nil {
			return err
		}
		nc.(*net.TCPConn).SetReadBuffer(4096)
		defer nc.Close()
	}
	all.Wait()
	io.Copy(io.Discard, os.Stdin)
	return nil
}

var codec protocol.LengthPrefix

// join connects and joins the group.
func join() (net.Conn, error) {
	nc, err := transport.TCP{}.Dial(context.Background(), *child)
	if err != nil {
		return nil, err
	}
	b, err := codec.Append(nil, []byte(`{"jsonrpc":"2.0","method":"join"}`))
	if err == nil {
		_, err = nc.Write(b)
	}
	return nc, err
}

// read reads messages and confirms each to the server.
func read(nc net.Conn) {
	defer nc.Close()
	done, _ := codec.Append(nil, []byte(`{"jsonrpc":"2.0","method":"done"}`))
	r := bufio.NewReaderSize(nc, 512)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return // the server has closed the connection
		}
		if _, err := r.Discard(int(binary.BigEndian.Uint32(head[:]))); err != nil {
			return
		}
		if _, err := nc.Write(done); err != nil {
			return
		}
	}
}
