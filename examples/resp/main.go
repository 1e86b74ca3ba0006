// Command resp is a key-value server for clients of Redis, such as redis-cli and redis-benchmark.
// It keeps strings in memory: PING, ECHO, SET, GET, MSET, MGET, DEL, EXISTS, INCR, DECR, EXPIRE,
// TTL, DBSIZE, FLUSHALL and QUIT. Answers to requests that arrive together are sent together.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:6379", "address to listen on")
	memory := flag.Int64("maxmemory", 1<<30, "bytes of keys and values; further ones are refused")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := newStore(*memory)
	if _, err := start(*addr, s); err != nil {
		log.Fatal(err)
	}
	s.removeExpired(ctx) // until the end
	if err := ranch.Drain(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func start(addr string, s *store) (*ranch.Listener, error) {
	p := protocol.Handle(func() protocol.Handler { return &client{store: s} }, protocol.Options{
		Codec: protocol.RESPCommands{Max: 1 << 20, MaxArgs: 10_000},
		Queue: protocol.QueueOptions{MaxBytes: 16 << 20}, // of answers that wait for a client
	})
	return ranch.StartListener("resp", transport.TCP{}, ranch.Options{
		Addr: addr, MaxConnections: 2000,
	}, p)
}

// client serves one connection.
type client struct {
	store  *store
	args   [][]byte
	answer []byte
}

// HandleData answers one command.
func (c *client) HandleData(p *protocol.Peer, command []byte) protocol.Action {
	args, err := protocol.RESPArgs(c.args[:0], command)
	if err != nil {
		p.Outbox().Send([]byte("-ERR Protocol error: unbalanced quotes in request\r\n"))
		return protocol.Fail(err)
	}
	if len(args) == 0 {
		return protocol.Continue()
	}
	answer, quit := c.store.run(c.answer[:0], args)
	err = p.Outbox().Send(answer) // collects the answers to requests that have arrived together
	clear(args)                   // they are parts of the read buffer
	if cap(answer) <= 4<<10 && cap(args) <= 16 {
		c.args, c.answer = args, answer // idle connections keep no large buffers
	}
	switch {
	case err != nil:
		return protocol.Fail(err)
	case quit:
		return protocol.Stop()
	}
	return protocol.Continue()
}
