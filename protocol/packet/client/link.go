package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"goranch/internal/redial"
	"goranch/protocol"
)

// link is one connection of a client.
type link struct {
	redial.Conn
	c   *Client
	out chan []byte // frames to write; never closed

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan<- *message // calls in progress, by id
}

func newLink(c *Client, nc net.Conn) *link {
	l := &link{c: c, out: make(chan []byte, 16), waiting: make(map[uint64]chan<- *message)}
	l.Start(c.connector.Context(), nc, l.read, l.write)
	return l
}

// reason returns the error of a call that was in progress when the connection ended.
func (l *link) reason() error {
	err := l.Err()
	if errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}

func (l *link) call(ctx context.Context, method string, params, result any) error {
	response := make(chan *message, 1)
	l.mu.Lock()
	l.lastID++
	id := l.lastID
	l.waiting[id] = response
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, id)
	}()
	if err := l.send(ctx, &id, method, params); err != nil {
		return err
	}
	select {
	case m := <-response:
		return m.decode(method, result)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.Done():
	}
	select {
	case m := <-response: // it arrived just before the end
		return m.decode(method, result)
	default:
		return l.reason()
	}
}

// send queues a request; a notification if id is nil.
func (l *link) send(ctx context.Context, id *uint64, method string, params any) error {
	b, err := encode(l.c.codec, id, method, params)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case l.out <- b:
		return nil
	case <-l.Done():
		return l.reason()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write writes queued frames, all that wait in one write, and heartbeats.
func (l *link) write() {
	w := bufio.NewWriter(l.Net)
	var heartbeat <-chan time.Time
	if d := l.c.opts.Heartbeat; d > 0 {
		t := time.NewTicker(d)
		defer t.Stop()
		heartbeat = t.C
	}
	ping, _ := encode(l.c.codec, nil, "ping", nil)
	for idle := true; ; { // since the last heartbeat
		var err error
		select {
		case b := <-l.out:
			idle = false
			if _, err = w.Write(b); err == nil && len(l.out) == 0 {
				err = w.Flush()
			}
		case <-heartbeat:
			if idle {
				_, err = w.Write(ping)
				err = errors.Join(err, w.Flush())
			}
			idle = true
		case <-l.Done():
			return
		}
		if err != nil {
			// The server may have sent the reason before it closed the connection. The reader
			// has a second to find it and fails the link.
			l.Net.SetReadDeadline(time.Now().Add(time.Second))
			return
		}
	}
}

// read handles what the server sends until the connection ends.
func (l *link) read() {
	r := bufio.NewReader(l.Net)
	var reason error // sent by the server about the connection as a whole
	for {
		frame, err := readFrame(r, l.c.codec)
		if err == nil {
			err = l.handle(frame, &reason)
		}
		if err != nil {
			if reason != nil {
				err = fmt.Errorf("%w: %w", reason, err)
			}
			l.Fail(err)
			return
		}
	}
}

// handle handles one frame. An error of the server without id is stored in reason.
func (l *link) handle(frame []byte, reason *error) error {
	if len(frame) > 0 && frame[0] == '[' {
		return nil // responses to a batch, which this client does not send
	}
	m := new(message)
	if err := json.Unmarshal(frame, m); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrBadInput, err)
	}
	if m.Method != "" && m.ID == nil {
		if l.c.opts.OnNotification != nil {
			l.c.opts.OnNotification(m.Method, m.Params)
		}
		return nil
	}
	var id uint64
	if err := json.Unmarshal(m.ID, &id); err != nil || id == 0 { // null leaves 0
		if m.Error != nil {
			*reason = m.Error.err()
		}
		return nil
	}
	l.mu.Lock()
	response := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if response != nil { // nil: the call has returned with the error of its context
		response <- m
	}
	return nil
}
