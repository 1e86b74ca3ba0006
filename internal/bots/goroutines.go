package bots

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// gang drives a crew with a goroutine per bot.
type gang struct {
	mu    sync.Mutex // of all below
	c     *crew
	conns []net.Conn // nil is none
	gone  error      // of control

	bots, control sync.WaitGroup
}

func driveGoroutines(c *crew, control *os.File) error {
	g := &gang{c: c, conns: make([]net.Conn, c.Clients)}
	g.control.Go(func() { g.readOrders(control) })
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !g.turn(time.Now()) {
		<-tick.C
	}
	g.mu.Lock()
	g.c.ended = true
	for i := range g.conns {
		g.close(i)
	}
	err := errors.Join(g.gone, c.outErr)
	g.mu.Unlock()
	g.bots.Wait()
	g.control.Wait() // the coordinator closes its end
	return err
}

// turn does what is due.
func (g *gang) turn(now time.Time) (done bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	closing, done := g.c.tick(now)
	for _, i := range closing {
		g.close(i)
	}
	for !done {
		i, ok := g.c.next(now)
		if !ok {
			break
		}
		g.bots.Go(func() { g.run(i) })
	}
	return done || g.gone != nil
}

// run is one bot.
func (g *gang) run(i int) {
	err := g.serve(i)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.c.ended {
		g.c.lose(i, err, time.Now())
	}
	g.close(i)
}

func (g *gang) serve(i int) error {
	d := net.Dialer{Timeout: g.c.SetupTimeout}
	nc, err := d.Dial("tcp", g.c.Address)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if g.c.ended || g.c.bots[i].phase == lost {
		g.mu.Unlock()
		nc.Close()
		return io.EOF
	}
	g.conns[i] = nc
	answer := g.c.connected(i, time.Now())
	g.mu.Unlock()
	buf := make([]byte, 4<<10)
	for {
		if len(answer) > 0 {
			if _, err := nc.Write(answer); err != nil {
				return err
			}
		}
		n, err := nc.Read(buf)
		at := time.Now()
		if err != nil {
			return err
		}
		g.mu.Lock()
		answer, err = g.c.take(i, buf[:n], at)
		g.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// close closes a bot's connection, and its goroutine ends. mu is held.
func (g *gang) close(i int) {
	if g.conns[i] != nil {
		if b := g.c.farewell(i); b != nil {
			g.conns[i].SetWriteDeadline(time.Now().Add(time.Millisecond))
			g.conns[i].Write(b)
		}
		g.conns[i].Close()
		g.conns[i] = nil
	}
}

func (g *gang) readOrders(control *os.File) {
	var in orders
	buf := make([]byte, 4<<10)
	for {
		n, err := control.Read(buf)
		g.mu.Lock()
		if err == nil {
			err = in.read(buf[:n], func(o order) { g.c.obey(o, time.Now()) })
		} else {
			err = fmt.Errorf("the coordinator has gone: %w", err)
		}
		if err != nil {
			if !g.c.ended {
				g.gone = err
			}
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}
