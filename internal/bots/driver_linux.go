package bots

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"

	"goranch/internal/loadgen"
)

var defaultDriver driver = driveEpoll

const (
	controlID      = -1 // of the command stream in the poller; clients count from 0
	dialsPerTurn   = 64
	maxWait        = 20 * time.Millisecond
	clientsPerAddr = 20_000 // an address has some 28,000 ports unless the system is configured otherwise
)

// epollDriver runs the clients of a worker with one thread.
type epollDriver struct {
	w       *worker
	poller  *loadgen.Poller
	dialer  *loadgen.Dialer
	fds     []int32  // by client; 0 is none
	pending [][]byte // by client; what the send buffer has not taken
	buf     []byte

	control  *os.File
	commands commandReader
}

func driveEpoll(w *worker, control *os.File) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	addr, err := netip.ParseAddrPort(w.Address)
	if err != nil {
		return err
	}
	d := &epollDriver{w: w, fds: make([]int32, w.NumClients), pending: make([][]byte, w.NumClients), buf: make([]byte, 256<<10), control: control}
	if d.dialer, err = loadgen.NewDialer(addr, clientsPerAddr); err != nil {
		return err
	}
	if d.poller, err = loadgen.NewPoller(); err != nil {
		return err
	}
	defer d.end()
	if err := d.poller.AddReader(int(control.Fd()), controlID); err != nil {
		return err
	}
	return d.run()
}

func (d *epollDriver) run() error {
	for {
		now := time.Now()
		closing, done := d.w.tick(now)
		for _, i := range closing {
			d.close(i)
		}
		if done {
			return d.w.outErr
		}
		wait := maxWait
		if d.connect(now) == dialsPerTurn {
			wait = 0
		}
		events, err := d.poller.Wait(wait)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.Fd != controlID {
				d.advance(int(ev.Fd), ev.Events)
			} else if err := d.readCommands(); err != nil {
				return err
			}
		}
	}
}

// connect begins the connects that are due, at most dialsPerTurn, and returns how many.
func (d *epollDriver) connect(now time.Time) int {
	for n := range dialsPerTurn {
		i, ok := d.w.next(now)
		if !ok {
			return n
		}
		if err := d.dial(i); err != nil {
			d.fail(i, err)
		}
	}
	return dialsPerTurn
}

func (d *epollDriver) dial(i int) error {
	fd, err := d.dialer.Dial(d.w.First + i)
	if err != nil {
		return err
	}
	d.fds[i] = int32(fd)
	d.pending[i] = []byte(greeting)
	return d.poller.Add(fd, i)
}

// advance handles an event of client i.
func (d *epollDriver) advance(i int, events uint32) {
	if d.fds[i] == 0 {
		return // closed after the event was queued
	}
	err := d.flush(i)
	if err == nil {
		err = d.read(i, events&loadgen.PeerClosed != 0)
	}
	if err != nil {
		d.fail(i, err)
	}
}

// read reads until no more data has arrived. A short read proves that only if the peer has not
// closed: the end of the stream is not reported by a second event.
func (d *epollDriver) read(i int, closed bool) error {
	for {
		n, err := loadgen.Read(int(d.fds[i]), d.buf)
		if n == 0 {
			return err
		}
		answer, err := d.w.received(i, d.buf[:n], time.Now())
		if err == nil && len(answer) > 0 {
			d.pending[i] = append(d.pending[i], answer...)
			err = d.flush(i)
		}
		if err != nil || n < len(d.buf) && !closed {
			return err
		}
	}
}

// flush writes pending bytes.
func (d *epollDriver) flush(i int) error {
	if len(d.pending[i]) == 0 {
		return nil
	}
	n, err := loadgen.Write(int(d.fds[i]), d.pending[i])
	if n == 0 {
		return err
	}
	if d.pending[i] = d.pending[i][n:]; len(d.pending[i]) == 0 {
		d.pending[i] = nil
	}
	d.w.connected(i, time.Now())
	return nil
}

// fail closes the connection of client i because of err.
func (d *epollDriver) fail(i int, err error) {
	d.w.disconnected(i, err, time.Now())
	d.close(i)
}

func (d *epollDriver) close(i int) {
	if d.fds[i] != 0 {
		if b := d.w.farewell(i); b != nil {
			loadgen.Write(int(d.fds[i]), b) // best effort: the connection is closed in any case
		}
		syscall.Close(int(d.fds[i]))
		d.fds[i] = 0
	}
	d.pending[i] = nil
}

func (d *epollDriver) end() {
	for i := range d.fds {
		d.close(i)
	}
	d.poller.Close()
}

func (d *epollDriver) readCommands() error {
	n, err := d.control.Read(d.buf)
	if err != nil {
		return fmt.Errorf("read commands of the coordinator: %w", err)
	}
	return d.commands.feed(d.buf[:n], func(c command) { d.w.handle(c, time.Now()) })
}
