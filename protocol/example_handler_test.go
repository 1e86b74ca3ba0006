package protocol_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

type chat struct {
	room *protocol.Group
	name string
}

func (c *chat) HandleConnect(p *protocol.Peer) protocol.Action {
	p.Send([]byte("your name?"))
	return protocol.Continue().Within(time.Minute) // for the first line
}

func (c *chat) HandleData(p *protocol.Peer, line []byte) protocol.Action {
	switch {
	case c.name == "":
		c.name = string(line)
		if err := c.room.Join(p); err != nil {
			return protocol.Fail(err)
		}
		p.Send([]byte("welcome"))
	case string(line) == "/quit":
		return protocol.Stop() // queued frames are sent first
	default:
		c.room.Broadcast(fmt.Appendf(nil, "%s: %s", c.name, line), p)
	}
	return protocol.Continue()
}

// A chat server that sends each line to the other clients.
func ExampleHandle() {
	room := &protocol.Group{Codec: protocol.Lines{}}
	handle := protocol.Handle(func() protocol.Handler { return &chat{room: room} }, protocol.Options{
		Codec:       protocol.Lines{Max: 500},
		ReadTimeout: 10 * time.Minute,
		Queue:       protocol.QueueOptions{MaxBytes: 64 << 10}, // clients that do not read are closed
	})
	mem := new(transport.Mem)
	l, err := ranch.StartListener("chat", mem, ranch.Options{Addr: "chat", Logger: slog.New(slog.DiscardHandler)}, handle)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()

	join := func(name string) (net.Conn, *bufio.Reader) {
		nc, err := mem.Dial(context.Background(), "chat")
		if err != nil {
			panic(err)
		}
		in := bufio.NewReader(nc)
		io.WriteString(nc, name+"\n")
		for line := ""; line != "welcome\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				panic(err)
			}
		}
		return nc, in
	}
	ada, in := join("Ada")
	defer ada.Close()
	bob, _ := join("Bob")
	defer bob.Close()
	io.WriteString(bob, "hi\n")
	line, _ := in.ReadString('\n')
	fmt.Print(line)
	n, err := room.Broadcast([]byte("the server restarts at noon"), nil)
	fmt.Println(n, err)
	// Output:
	// Bob: hi
	// 2 <nil>
}

func ExampleLengthPrefix() {
	codec := protocol.LengthPrefix{Size: 2, Max: 1000}
	wire, err := codec.Append(nil, []byte("hello"))
	fmt.Printf("%q %v\n", wire, err)
	frame, used, _, err := codec.Decode(append(wire, "the next"...))
	fmt.Printf("%q %d %v\n", frame, used, err)
	_, _, _, err = codec.Decode([]byte{0xff, 0xff})
	fmt.Println(errors.Is(err, protocol.ErrFrameTooLarge))
	// Output:
	// "\x00\x05hello" <nil>
	// "hello" 7 <nil>
	// true
}

// keyValues is a server for clients of Redis. Its buffers are used again for each command.
type keyValues struct {
	values *sync.Map
	args   [][]byte
	answer []byte
}

func (h *keyValues) HandleData(p *protocol.Peer, command []byte) protocol.Action {
	args, err := protocol.RESPArgs(h.args[:0], command)
	h.args = args
	switch {
	case err != nil:
		return protocol.Fail(err)
	case len(args) == 0: // Redis ignores empty lines and arrays
		return protocol.Continue()
	case len(args) == 3 && string(args[0]) == "SET":
		h.values.Store(string(args[1]), string(args[2]))
		h.answer = append(h.answer[:0], "+OK\r\n"...)
	case len(args) == 2 && string(args[0]) == "GET":
		v, _ := h.values.Load(string(args[1]))
		s, _ := v.(string)
		h.answer = fmt.Appendf(h.answer[:0], "$%d\r\n%s\r\n", len(s), s)
	default:
		h.answer = append(h.answer[:0], "-ERR unknown command\r\n"...)
	}
	p.Outbox().Send(h.answer)
	return protocol.Continue()
}

func ExampleRESPArgs() {
	values := new(sync.Map)
	handle := protocol.Handle(func() protocol.Handler { return &keyValues{values: values} }, protocol.Options{
		Codec: protocol.RESPCommands{Max: 1 << 20, MaxArgs: 100},
	})
	mem := new(transport.Mem)
	l, err := ranch.StartListener("values", mem, ranch.Options{Addr: "values", Logger: slog.New(slog.DiscardHandler)}, handle)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Stop()
	nc, err := mem.Dial(context.Background(), "values")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	io.WriteString(nc, "*3\r\n$3\r\nSET\r\n$4\r\ncity\r\n$6\r\nLondon\r\nGET city\r\n")
	in := bufio.NewReader(nc)
	for range 3 {
		line, _ := in.ReadString('\n')
		fmt.Printf("%q\n", line)
	}
	// Output:
	// "+OK\r\n"
	// "$6\r\n"
	// "London\r\n"
}

// A protocol without callbacks can use an outbox too.
func ExampleNewOutbox() {
	serve := func(ctx context.Context, conn *transport.Conn) error {
		out, err := protocol.NewOutbox(conn, protocol.QueueOptions{
			MaxBytes: 64 << 10, Overflow: protocol.Block, BlockTime: time.Second,
		})
		if err != nil {
			return err
		}
		out.Send([]byte("hello\n"))
		return out.Wait(ctx) // until everything is written
	}
	a, b := net.Pipe()
	go func() {
		conn := transport.NewConn(transport.TCP{}, a)
		serve(context.Background(), conn)
		conn.Close()
	}()
	got, err := io.ReadAll(b)
	fmt.Print(string(got), err, "\n")
	// Output:
	// hello
	// <nil>
}
