// Command cap demonstrates the connection cap of a listener: 500 clients connect at once to a
// listener that serves at most 100 connections, and the cap is changed twice meanwhile. It prints
// the result, and fails if the cap was exceeded or a client was not served.
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

// gauge counts current connections and records the peak.
type gauge struct{ current, peak atomic.Int64 }

func (g *gauge) add() {
	n := g.current.Add(1)
	for peak := g.peak.Load(); n > peak && !g.peak.CompareAndSwap(peak, n); peak = g.peak.Load() {
	}
}

func main() {
	var active gauge
	greet := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		active.add()
		defer active.current.Add(-1)
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
			if err := readGreeting(l.Addr().String()); err != nil {
				log.Print(err)
				return
			}
			served.Add(1)
		})
	}
	waitServed(&served, 100)
	l.SetMaxConnections(30) // no connection is admitted until fewer than 30 are active
	waitServed(&served, 300)
	l.SetMaxConnections(100)
	wg.Wait()
	info := l.Info()
	fmt.Printf("served %d of %d clients, at most %d at a time (counted by the listener: %d)\n", served.Load(), clients, active.peak.Load(), info.PeakConnections)
	if err := ranch.Drain(context.Background()); err != nil {
		log.Fatal(err)
	}
	if served.Load() != clients || active.peak.Load() > 100 || info.PeakConnections > 100 {
		log.Fatal("the cap was exceeded, or a client was not served")
	}
}

// readGreeting connects and reads until the server closes the connection.
func readGreeting(addr string) error {
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
