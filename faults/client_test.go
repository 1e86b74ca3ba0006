package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"goranch/faults"
)

// client is a client with a behaviour. Its fields are read when it has ended.
type client struct {
	behaviour string
	size      int // bytes to send
	src       *faults.Source
	nc        net.Conn     // its own end
	link      *faults.Link // nil: no proxy
	lossy     bool         // the proxy has lost bytes
	addr      string       // of its connection to the server
	to        *listening

	sent, got uint64
	finished  bool // all was sent, and the end of the stream
	readToEnd bool // until the server has closed the connection, or reset it
	served    chan struct{}
	wrong     []string
}

var clientBehaviours = []string{"whole", "whole", "whole", "lines", "silent", "vanish", "deaf", "impatient", "end first"}

// run connects by dial and behaves until ctx ends.
func (c *client) run(ctx context.Context, dial func(context.Context, *client) error) {
	if err := dial(ctx, c); err != nil {
		return
	}
	defer c.nc.Close()
	defer context.AfterFunc(ctx, func() { c.nc.SetReadDeadline(time.Unix(1, 0)) })()
	stop := context.AfterFunc(ctx, func() { c.nc.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	switch c.behaviour {
	case "silent":
		c.readAll()
	case "vanish":
		c.send(c.src.IntN(c.size + 1))
		if c.src.Chance(0.5) {
			c.nc.(interface{ SetLinger(int) error }).SetLinger(0)
		}
	case "deaf":
		c.send(c.size)
		sleep(ctx, c.src.Between(0, 30*time.Second))
	case "impatient":
		c.nc.SetReadDeadline(time.Now().Add(c.src.Between(0, 2*time.Second)))
		c.send(c.size)
		c.readAll()
		c.readToEnd = false
	case "end first":
		c.finish()
		c.readAll()
	default:
		var wg sync.WaitGroup
		wg.Go(func() {
			c.send(c.size)
			if c.behaviour == "whole" {
				c.finish()
			}
		})
		c.readAll()
		wg.Wait()
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// byteAt returns the byte of the stream of a client at an offset.
func byteAt(offset uint64) byte {
	if offset%17 == 16 {
		return '\n'
	}
	return byte(offset*167 + offset>>8*59)
}

// send sends n more bytes, in pieces.
func (c *client) send(n int) {
	for n > 0 {
		b := make([]byte, 1+c.src.IntN(min(n, 5000)))
		for i := range b {
			b[i] = byteAt(c.sent + uint64(i))
		}
		w, err := c.nc.Write(b)
		c.sent += uint64(w)
		if n -= w; err != nil {
			c.finished = false
			return
		}
		if c.src.Chance(0.2) {
			time.Sleep(c.src.Between(0, time.Second))
		}
	}
	c.finished = true
}

// finish announces the end of the stream.
func (c *client) finish() {
	if c.behaviour == "end first" {
		c.finished = true
	}
	if c.nc.(interface{ CloseWrite() error }).CloseWrite() != nil {
		c.finished = false
	}
}

// readAll reads until the end of the stream, and checks what it reads.
func (c *client) readAll() {
	r := bufio.NewReaderSize(countingReader{c}, 4096)
	kind, err := r.ReadByte()
	if err == nil {
		close(c.served)
		switch kind {
		case sendsEcho:
			c.readEcho(r)
			return
		case sendsLines:
			c.readLines(r)
			return
		case sendsOther, sendsBusy, 0:
		default:
			c.wrong = append(c.wrong, fmt.Sprintf("got %q first, want a known byte", kind))
		}
	}
	io.Copy(io.Discard, r)
}

// countingReader counts, and notices the end of the stream.
type countingReader struct{ c *client }

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.c.nc.Read(p)
	r.c.got += uint64(n)
	if ne, ok := err.(net.Error); err != nil && !(ok && ne.Timeout()) {
		r.c.readToEnd = true
	}
	return n, err
}

func (c *client) readEcho(r *bufio.Reader) {
	for i := uint64(0); ; i++ {
		b, err := r.ReadByte()
		if err != nil {
			return
		}
		if b != byteAt(i) {
			c.wrong = append(c.wrong, fmt.Sprintf("echo: got byte %d at %d, want %d", b, i, byteAt(i)))
			io.Copy(io.Discard, r)
			return
		}
	}
}

// readLines checks that numbers increase: broadcasts are neither repeated nor exchanged. One that c
// has caused is missing.
func (c *client) readLines(r *bufio.Reader) {
	last := uint64(0)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		n, err := strconv.ParseUint(strings.TrimRight(line, "\r\n"), 10, 64)
		if err != nil || n <= last {
			c.wrong = append(c.wrong, fmt.Sprintf("lines: got %q (%v) after %d, want a larger number", line, err, last))
			io.Copy(io.Discard, r)
			return
		}
		last = n
	}
}
