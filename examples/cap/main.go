// Command cap shows what the cap of a listener does: 500 clients come at once to a
// listener that admits 100, and the cap is changed twice while they are served. It
// prints what happened and fails if the cap was ever exceeded or a client not served.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

const clients = 500

// room counts who is in it, and the most that were at once.
type room struct{ now, most atomic.Int64 }

func (r *room) enter() {
	n := r.now.Add(1)
	for most := r.most.Load(); n > most && !r.most.CompareAndSwap(most, n); most = r.most.Load() {
	}
}

func main() {
	var inside room
	greet := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		inside.enter()
		defer inside.now.Add(-1)
		time.Sleep(50 * time.Millisecond) // some work
		_, err := fmt.Fprintf(conn, "hello, %v\n", conn.RemoteAddr())
		return err
	})
	l, err := ranch.StartListener("greeter", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 100}, greet)
	if err != nil {
		log.Fatal(err)
	}
	var served atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if err := visit(l.Addr().String()); err != nil {
				log.Print(err)
				return
			}
			served.Add(1)
		})
	}
	waitServed(&served, 100)
	l.SetMaxConnections(30) // nobody is admitted until fewer than 30 are left
	waitServed(&served, 300)
	l.SetMaxConnections(100)
	wg.Wait()
	info := l.Info()
	fmt.Printf("served %d of %d clients, at most %d at once (the listener counted %d)\n", served.Load(), clients, inside.most.Load(), info.PeakConnections)
	if err := ranch.Drain(context.Background()); err != nil {
		log.Fatal(err)
	}
	if served.Load() != clients || inside.most.Load() > 100 || info.PeakConnections > 100 {
		log.Fatal("the cap did not hold")
	}
}

func visit(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	line, err := io.ReadAll(nc)
	if err == nil && len(line) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func waitServed(served *atomic.Int64, n int64) {
	for served.Load() < n {
		time.Sleep(time.Millisecond)
	}
}
