package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"goranch/internal/redial"
	"goranch/protocol"
)

const (
	interruptByte = 0x03 // Ctrl-C: the server cancels the running command and the requests that wait
	textError     = "error: "
	// maxUnsent limits the bytes of requests that the server has not accepted yet.
	maxUnsent = 1 << 20
)

// link is one connection of a client.
type link struct {
	redial.Conn
	c     *Client
	ready chan struct{} // closed when the opening exchange is done
	wake  chan struct{} // holds an element when out has something to write

	// Of the goroutine that reads.
	lines    *bufio.Reader
	lastLine string // the last line if it is an error in text: the server's reason for closing

	mu       sync.Mutex
	lastID   int64  // number of the last request; the server counts them likewise
	out      []byte // to be written
	writeErr error
	waiting  *pending
}

func newLink(c *Client, nc net.Conn, o opening) *link {
	l := &link{c: c, lines: bufio.NewReader(nc), ready: make(chan struct{}), wake: make(chan struct{}, 1)}
	l.Start(c.connector.Context(), nc, func() { l.read(o) }, l.write)
	return l
}

// reason returns why the connection has ended, as calls report it.
func (l *link) reason() error {
	err := l.Err()
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrTakenOver) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}

// submit queues a request. p, if it is not nil, gets the answer.
func (l *link) submit(line string, p *pending) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out)+len(line) > maxUnsent {
		return fmt.Errorf("%w: %d bytes of earlier requests, %d of this one: allowed are %d",
			protocol.ErrQueueFull, len(l.out), len(line), maxUnsent)
	}
	l.lastID++
	if p != nil {
		p.id, l.waiting = l.lastID, p
	}
	l.enqueue(line + "\n")
	return nil
}

// forget drops the pending request.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = nil
}

func (l *link) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enqueue(string(rune(interruptByte)))
}

// enqueue requires l.mu.
func (l *link) enqueue(s string) {
	l.out = append(l.out, s...)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write writes the queued requests until the connection ends.
func (l *link) write() {
	var b []byte
	for {
		select {
		case <-l.wake:
		case <-l.Done():
			return
		}
		l.mu.Lock()
		b, l.out = l.out, b[:0]
		l.mu.Unlock()
		if d := l.c.opts.WriteTimeout; d > 0 {
			l.Net.SetWriteDeadline(time.Now().Add(d))
		}
		if _, err := l.Net.Write(b); err != nil {
			// What the server sent before it closed the connection is still to be read, and says
			// why.
			l.mu.Lock()
			l.writeErr = err
			l.mu.Unlock()
			l.Net.SetReadDeadline(time.Now().Add(time.Second))
			return
		}
	}
}

// read performs the opening exchange, then handles lines until the connection ends.
func (l *link) read(o opening) {
	err := l.open(o)
	if err == nil {
		close(l.ready)
	}
	for err == nil {
		var line []byte
		if line, err = l.readLine(); err == nil {
			err = l.take(line)
		}
	}
	l.Fail(l.explain(err))
}

// explain adds to a read error what is known about its cause.
func (l *link) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writeErr != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = l.writeErr
	}
	if l.lastLine != "" {
		err = fmt.Errorf("%s: %w", l.lastLine, err)
	}
	return err
}

// readLine returns the next line without its end. The slice is the caller's.
func (l *link) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := l.lines.ReadSlice('\n')
		if len(line)+len(part) > l.c.opts.MaxLine+1 {
			return nil, fmt.Errorf("%w: a line of the server has more than %d bytes", protocol.ErrFrameTooLarge, l.c.opts.MaxLine)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			l.lastLine = ""
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// take handles a line.
func (l *link) take(line []byte) error {
	m, ok := parse(line)
	o := &l.c.opts
	switch {
	case !ok:
		l.lastLine, _ = strings.CutPrefix(string(line), textError)
		if len(l.lastLine) == len(line) {
			l.lastLine = ""
		}
		o.OnOutput(append(line, '\n'))
	case m.Event == "taken_over":
		return fmt.Errorf("%w: %s", ErrTakenOver, m.By)
	case m.Event == "lost":
		o.OnOutputLost(m.Bytes)
	case m.Event == "shutdown":
		o.OnShutdown()
	case m.Event != "": // of a later version of the server
	case m.isOutput():
		o.OnOutput(m.output())
	case m.Frame:
		o.OnFrame(m.answer())
	default:
		l.answered(&m)
	}
	return nil
}

// answered passes an answer to the pending call. Other answers are those of commands whose calls
// have returned, and, with the id 0, of commands of an earlier connection.
func (l *link) answered(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.waiting
	if p == nil || !m.answers(p.id) {
		return
	}
	l.waiting = nil
	if m.Error != nil {
		p.reply <- reply{err: m.Error}
		return
	}
	p.reply <- reply{answer: m.answer()}
}
