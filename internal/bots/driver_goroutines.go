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

// goroutineDriver runs the clients of a worker with a goroutine for each.
type goroutineDriver struct {
	mu         sync.Mutex // guards the fields below, and w
	w          *worker
	conns      []net.Conn // by client; nil is none
	controlErr error

	farewellTime time.Duration // how long the write of a farewell may take

	clients, control sync.WaitGroup
}

func driveGoroutines(w *worker, control *os.File) error {
	d := &goroutineDriver{w: w, conns: make([]net.Conn, w.NumClients), farewellTime: 100 * time.Millisecond}
	d.control.Go(func() { d.readCommands(control) })
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !d.turn(time.Now()) {
		<-ticker.C
	}
	d.mu.Lock()
	d.w.ended = true
	for i := range d.conns {
		d.close(i)
	}
	err := errors.Join(d.controlErr, w.outErr)
	d.mu.Unlock()
	d.clients.Wait()
	d.control.Wait() // returns when the coordinator closes its end of the pipe
	return err
}

// turn enforces time limits and starts the clients that are due.
func (d *goroutineDriver) turn(now time.Time) (done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	closing, done := d.w.tick(now)
	for _, i := range closing {
		d.close(i)
	}
	for !done {
		i, ok := d.w.next(now)
		if !ok {
			break
		}
		d.clients.Go(func() { d.run(i) })
	}
	return done || d.controlErr != nil
}

// run runs client i until its connection ends.
func (d *goroutineDriver) run(i int) {
	err := d.serve(i)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.w.ended {
		d.w.disconnected(i, err, time.Now())
	}
	d.close(i)
}

func (d *goroutineDriver) serve(i int) error {
	dialer := net.Dialer{Timeout: d.w.SetupTimeout}
	nc, err := dialer.Dial("tcp", d.w.Address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	if d.w.ended || d.w.clients[i].phase == lost {
		d.mu.Unlock()
		nc.Close()
		return io.EOF
	}
	d.conns[i] = nc
	answer := d.w.connected(i, time.Now())
	d.mu.Unlock()
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
		d.mu.Lock()
		answer, err = d.w.received(i, buf[:n], at)
		d.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// close closes the connection of client i, which ends its goroutine. The caller holds mu.
func (d *goroutineDriver) close(i int) {
	if d.conns[i] != nil {
		if b := d.w.farewell(i); b != nil {
			d.conns[i].SetWriteDeadline(time.Now().Add(d.farewellTime))
			if _, err := d.conns[i].Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
				d.farewellTime = time.Millisecond // the server does not read; others must not wait for it
			}
		}
		d.conns[i].Close()
		d.conns[i] = nil
	}
}

func (d *goroutineDriver) readCommands(control *os.File) {
	var commands commandReader
	buf := make([]byte, 4<<10)
	for {
		n, err := control.Read(buf)
		d.mu.Lock()
		if err == nil {
			err = commands.feed(buf[:n], func(c command) { d.w.handle(c, time.Now()) })
		} else {
			err = fmt.Errorf("read commands of the coordinator: %w", err)
		}
		if err != nil && !d.w.ended {
			d.controlErr = err
		}
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}
