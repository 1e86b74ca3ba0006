// Command chat is a chat for line clients such as nc. The first line of a client is its name;
// further lines are sent to all clients. "/who" lists them, "/quit" leaves.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:4000", "address to listen on")
	flag.Parse()
	if _, err := start(*addr); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if err := ranch.Drain(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func start(addr string) (*ranch.Listener, error) {
	codec := protocol.Lines{Max: 1000}
	r := &room{names: map[string]bool{}}
	r.Codec = codec
	p := protocol.Handle(func() protocol.Handler { return &client{room: r} }, protocol.Options{
		Codec: codec,
		Queue: protocol.QueueOptions{MaxBytes: 64 << 10}, // a client that does not read is closed
	})
	return ranch.StartListener("chat", transport.TCP{}, ranch.Options{
		Addr: addr, MaxConnections: 10_000,
		Limits: conns.Limits{PerAddress: 50, ReadTimeout: time.Hour},
	}, p)
}

// room has the clients that have told their name.
type room struct {
	protocol.Group
	mu    sync.Mutex
	names map[string]bool
}

// add reports whether a name was free. It is then taken.
func (r *room) add(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := !r.names[name]
	r.names[name] = true
	return free
}

func (r *room) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}

func (r *room) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for name := range r.names {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// say sends a line to all clients. For p it is then in order with what p is sent alone; a nil p is
// not waited for.
func (r *room) say(p *protocol.Peer, text string) {
	r.Broadcast([]byte(text), nil)
	if p != nil {
		r.Wait(p)
	}
}

// client serves one connection.
type client struct {
	room *room
	name string // "" until the client has told it
}

func (c *client) HandleConnect(p *protocol.Peer) protocol.Action {
	p.Send([]byte("What is your name?"))
	return protocol.Continue().Within(time.Minute)
}

func (c *client) HandleData(p *protocol.Peer, line []byte) protocol.Action {
	text := clean(line)
	switch {
	case c.name == "":
		return c.enter(p, text)
	case text == "":
	case text == "/quit":
		return protocol.Stop()
	case text == "/who":
		p.Send([]byte("* " + strings.Join(c.room.list(), ", ")))
	case strings.HasPrefix(text, "/"):
		p.Send([]byte("* commands: /who, /quit"))
	default:
		c.room.say(p, c.name+": "+text)
	}
	return protocol.Continue()
}

func (c *client) enter(p *protocol.Peer, name string) protocol.Action {
	if name == "" || len(name) > 20 || strings.ContainsAny(name, " :/*") || !c.room.add(name) {
		p.Send([]byte("This name is taken, too long, or has a space or one of :/* in it. What is your name?"))
		return protocol.Continue().Within(time.Minute)
	}
	c.name = name
	c.room.Join(p)
	c.room.say(p, "* "+name+" has joined")
	return protocol.Continue()
}

func (c *client) HandleShutdown(p *protocol.Peer) { p.Send([]byte("* the server stops")) }

func (c *client) HandleClose(*protocol.Peer, error) {
	if c.name != "" {
		c.room.remove(c.name)
		c.room.say(nil, "* "+c.name+" has left")
	}
}

// clean returns the printable text of a line, which is safe for the terminals of others.
func clean(line []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(line)))
}
