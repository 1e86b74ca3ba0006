package session_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
)

// Place is where a player of the example is.
type Place struct{ Room string }

// printer stands for a connection.
type printer string

func (p printer) Resumed(lost int) error {
	fmt.Printf("%s: welcome back; lost: %d bytes\n", p, lost)
	return nil
}
func (p printer) Deliver(b []byte) error { fmt.Printf("%s: %s\n", p, b); return nil }
func (p printer) TakenOver(by net.Addr)  {}

// A player is cut off, comes back over another connection, and is where it was; also after a restart.
func Example() {
	dir, _ := os.MkdirTemp("", "sessions")
	defer os.RemoveAll(dir)
	serve := func() *session.Manager[Place] {
		store, err := boltstore.Open(filepath.Join(dir, "sessions.db"), boltstore.Options{})
		if err != nil {
			panic(err)
		}
		m, err := session.New(session.Options[Place]{TTL: time.Hour, Store: store})
		if err != nil {
			panic(err)
		}
		return m
	}
	ctx, from := context.Background(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}

	m := serve()
	lease, err := m.Create(ctx, from, printer("first"), Place{"hall"})
	if err != nil {
		panic(err)
	}
	id := lease.ID()
	lease.Do(func(p *Place) { p.Room = "cellar" })
	lease.Output([]byte("it is dark"))
	lease.Detach()
	lease.Session().Output([]byte("something moves"))

	lease, err = m.Attach(ctx, id, from, printer("second"))
	if err != nil {
		panic(err)
	}
	fmt.Println(lease.Generation(), m.Close(ctx))

	m = serve()
	lease, err = m.Attach(ctx, id, from, printer("third"))
	if err != nil {
		panic(err)
	}
	lease.View(func(p *Place) { fmt.Println(p.Room) })
	fmt.Println(lease.Generation(), m.Close(ctx))
	// Output:
	// first: it is dark
	// second: welcome back; lost: 0 bytes
	// second: something moves
	// 2 <nil>
	// third: welcome back; lost: 0 bytes
	// cellar
	// 3 <nil>
}
