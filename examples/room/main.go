// Command room broadcasts to many clients in one room, of whom some read nothing, and prints how long it
// takes until all the others have everything, without the silent ones and with them, and why
// connections ended. The clients are a process of their own, for each end takes a descriptor:
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
	"net"
	"os"
	"os/exec"
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
	clients = flag.Int("clients", 1000, "clients in the room")
	silent  = flag.Int("silent", 10, "those of them that read nothing")
	size    = flag.Int("size", 4096, "bytes of a message")
	count   = flag.Int("count", 100, "messages with the silent ones in the room, enough to fill their queues")
	child   = flag.String("child", "", "be the clients of that address (used by the program itself)")
)

func main() {
	flag.Parse()
	run := serve
	if *child != "" {
		run = visit
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// serve is the server, and what starts the clients.
func serve() error {
	joined, done := make(chan struct{}, *clients), make(chan time.Time, *clients)
	s, err := packet.NewServer(packet.Options{FramesPerSecond: -1, Queue: protocol.QueueOptions{MaxBytes: 64 << 10}})
	if err != nil {
		return err
	}
	room := s.NewGroup()
	err = errors.Join(
		packet.Register(s, "join", func(call *packet.Call, _ struct{}) (bool, error) {
			defer func() { joined <- struct{}{} }()
			return true, room.Join(call.Peer)
		}),
		packet.Register(s, "done", func(*packet.Call, struct{}) (bool, error) { done <- time.Now(); return true, nil }),
	)
	if err != nil {
		return err
	}
	l, err := ranch.StartListener("room", transport.TCP{WriteBuffer: 32 << 10}, ranch.Options{
		Addr: "127.0.0.1:0", MaxConnections: ranch.Unlimited, ShutdownTimeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		return err
	}
	visitors := exec.Command(os.Args[0], "-child", l.Addr().String(), fmt.Sprint("-clients=", *clients), fmt.Sprint("-silent=", *silent))
	visitors.Stderr = os.Stderr
	in, err := visitors.StdinPipe()
	if err != nil {
		return err
	}
	if err := visitors.Start(); err != nil {
		return err
	}
	defer visitors.Wait()
	defer in.Close() // which the clients take for the end
	readers := *clients - *silent
	for range readers {
		<-joined
	}
	fmt.Printf("%d clients, of whom %d will read nothing, messages of %d bytes\n", *clients, *silent, *size)
	if err := measure("without the silent", room, done, readers); err != nil {
		return err
	}
	io.WriteString(in, "silent\n")
	for range *silent {
		<-joined
	}
	if err := measure("with the silent", room, done, readers); err != nil {
		return err
	}
	if err := l.Stop(); err != nil {
		return err
	}
	return report(l)
}

// measure broadcasts some messages, each when the one before has arrived everywhere.
func measure(what string, room *packet.Group, done <-chan time.Time, readers int) error {
	text := strings.Repeat("x", *size)
	var sum, longest time.Duration
	for range *count {
		began := time.Now()
		if _, err := room.Notify("said", text); err != nil {
			return err
		}
		var last time.Time
		for range readers {
			if t := <-done; t.After(last) {
				last = t
			}
		}
		d := last.Sub(began)
		sum, longest = sum+d, max(longest, d)
	}
	fmt.Printf("%-18s  a broadcast reaches %d in %v on average, %v at most\n", what, readers,
		(sum / time.Duration(*count)).Round(10*time.Microsecond), longest.Round(10*time.Microsecond))
	return nil
}

func report(l *ranch.Listener) error {
	info := l.Info()
	for _, r := range conns.Reasons() {
		if n := info.Reasons[r]; n > 0 {
			fmt.Printf("ended: %d %v\n", n, r)
		}
	}
	if n := info.Reasons[conns.QueueFull]; n != uint64(*silent) {
		return fmt.Errorf("%d were dropped for being slow, want %d: more -count or -size fills their queues", n, *silent)
	}
	return nil
}

// visit is the clients.
func visit() error {
	var all sync.WaitGroup
	for range *clients - *silent {
		nc, err := join()
		if err != nil {
			return err
		}
		all.Go(func() { listen(nc) })
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

// listen tells the server of each message that it has come.
func listen(nc net.Conn) {
	defer nc.Close()
	done, _ := codec.Append(nil, []byte(`{"jsonrpc":"2.0","method":"done"}`))
	r := bufio.NewReaderSize(nc, 512)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return // the server has stopped
		}
		if _, err := r.Discard(int(binary.BigEndian.Uint32(head[:]))); err != nil {
			return
		}
		if _, err := nc.Write(done); err != nil {
			return
		}
	}
}
