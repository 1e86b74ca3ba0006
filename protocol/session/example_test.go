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

// Place is the position of a player.
type Place struct{ Room string }

// printer is a connection that prints its output.
type printer string

func (p printer) Deliver(b []byte, lost int) error {
	fmt.Printf("%s: %s (%d bytes lost)\n", p, b, lost)
	return nil
}
func (p printer) Revoked(by net.Addr, err error) {}

// A player loses the connection and resumes the session over another one, and again after a
// restart.
func Example() {
	dir, _ := os.MkdirTemp("", "sessions")
	defer os.RemoveAll(dir)
	newManager := func() *session.Manager[Place] {
		store, err := boltstore.Open(filepath.Join(dir, "sessions.db"))
		if err != nil {
			panic(err)
		}
		m, err := session.New(session.Options[Place]{TTL: time.Hour, Store: store})
		if err != nil {
			panic(err)
		}
		return m
	}
	ctx, remote := context.Background(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}

	m := newManager()
	s, err := m.Create(ctx, remote, printer("first"), Place{"hall"})
	if err != nil {
		panic(err)
	}
	id := s.ID()
	s.Do(func(p *Place) { p.Room = "cellar" })
	s.Output([]byte("it is dark"))
	s.Detach()
	s.Unbound().Output([]byte("a door opens"))

	if _, err = m.Attach(ctx, id, remote, printer("second")); err != nil {
		panic(err)
	}
	fmt.Println(m.Close(ctx))

	m = newManager()
	s, err = m.Attach(ctx, id, remote, printer("third"))
	if err != nil {
		panic(err)
	}
	s.View(func(p *Place) { fmt.Println(p.Room) })
	fmt.Println(m.List()[0].Generation, m.Close(ctx))
	// Output:
	// first: it is dark (0 bytes lost)
	// second: a door opens (0 bytes lost)
	// <nil>
	// cellar
	// 3 <nil>
}
