package natsstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// Place is the position of a player.
type Place struct{ Room string }

// player is a connection.
type player struct{ lost chan error }

func (p player) Deliver([]byte, int) error     { return nil }
func (p player) Revoked(_ net.Addr, err error) { p.lost <- err }

// A player connects to another node, which takes the session over.
func Example() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "nats")
	defer os.RemoveAll(dir)
	engine, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		panic(err)
	}
	engine.Start()
	defer engine.WaitForShutdown()
	defer engine.Shutdown()
	var conns []*nats.Conn
	node := func(name string) *session.Manager[Place] {
		nc, err := nats.Connect("", nats.InProcessServer(engine), nats.MaxReconnects(-1))
		if err != nil {
			panic(err)
		}
		conns = append(conns, nc)
		store, err := natsstore.Open(ctx, nc, natsstore.Options{Node: name})
		if err != nil {
			panic(err)
		}
		m, err := session.New(session.Options[Place]{TTL: time.Hour, Store: store})
		if err != nil {
			panic(err)
		}
		return m
	}
	a, b := node("a"), node("b")

	first := player{make(chan error, 1)}
	s, err := a.Create(ctx, nil, first, Place{"hall"})
	if err != nil {
		panic(err)
	}
	s.Do(func(p *Place) { p.Room = "cellar" })

	s, err = b.Attach(ctx, s.ID(), nil, player{make(chan error, 1)})
	if err != nil {
		panic(err)
	}
	fmt.Println(<-first.lost)
	s.View(func(p *Place) { fmt.Println(p.Room) })
	fmt.Println(a.Close(ctx), b.Close(ctx))
	for _, nc := range conns {
		nc.Close()
	}
	// Output:
	// the session was taken over
	// cellar
	// <nil> <nil>
}
