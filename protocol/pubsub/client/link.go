package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"goranch/internal/redial"
	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// maxUnsent limits the requests that wait to be written, in bytes.
const maxUnsent = 16 << 20

// link is one connection of a client.
type link struct {
	redial.Conn
	client  *Client
	greeted chan struct{} // closed after the greeting has set token
	token   string

	// Restoring the subscriptions after the session was lost. Guarded by the client's lock.
	restoring      bool
	restorePending int // subscriptions without confirmation
	restored       int // subscriptions with confirmation

	writable chan struct{} // has one element when there is something to write

	// Requests. Guarded by mu.
	mu            sync.Mutex
	lastID        uint64
	unsent        []byte
	sendPong      bool
	unsubscribed  []string   // names unsubscribed from since the last entry of pending
	pending       []*pending // requests without answer, in the order of their answers
	writeErrTimer *time.Timer
}

// pending is a request to which the server sends an answer: a frame with its id, or ACK if id is 0.
type pending struct {
	id           uint64
	sub          *Subscription // of a subscribe request
	restores     bool          // a subscribe request after the session was lost
	unsubscribed []string      // names unsubscribed from before the answer
	answer       chan answer   // buffered
}

type answer struct {
	published pubsub.Published // the number of subscribers also of a presence request
	err       error
}

func newLink(c *Client, nc net.Conn) *link {
	l := &link{client: c, writable: make(chan struct{}, 1), greeted: make(chan struct{})}
	l.unsent = append([]byte("<regular-socket/>"), clientEnd)
	l.writable <- struct{}{}
	l.Start(c.redialer.Context(), nc, l.read, l.write)
	return l
}

// Wait waits for the goroutines of a link that has ended.
func (l *link) Wait() {
	l.Conn.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writeErrTimer != nil {
		l.writeErrTimer.Stop()
	}
}

// reason returns the error of the requests that are in progress when the connection ends. The
// request that has caused the end receives its own error first: refused holds mu until then.
func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.Err()
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}

// send queues a frame. If the server answers it, p receives the answer; otherwise p is nil.
func (l *link) send(b []byte, p *pending) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unsent)+len(b) > maxUnsent {
		return fmt.Errorf("%w: %d bytes of requests wait to be written", protocol.ErrQueueFull, len(l.unsent))
	}
	l.unsent = append(l.unsent, b...)
	if p != nil {
		p.unsubscribed, l.unsubscribed = l.unsubscribed, nil
		l.pending = append(l.pending, p)
	}
	l.wakeWriter()
	return nil
}

func (l *link) wakeWriter() {
	select {
	case l.writable <- struct{}{}:
	default:
	}
}

// unsubscribe sends an unsubscribe request, which has no answer.
func (l *link) unsubscribe(name string) {
	b, err := (&request{Action: "unsubscribe", Data: name}).encode(l.client.opts.MaxFrame)
	if err == nil && l.send(b, nil) == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.unsubscribed = append(l.unsubscribed, name)
	}
}

// do sends a request and waits for its answer.
func (l *link) do(ctx context.Context, r *request) (published pubsub.Published, err error) {
	p := &pending{answer: make(chan answer, 1)}
	if r.Action != "attach" {
		l.mu.Lock()
		l.lastID++
		p.id = l.lastID
		l.mu.Unlock()
		r.ID = &p.id
	}
	b, err := r.encode(l.client.opts.MaxFrame)
	if err != nil {
		return published, err
	}
	if err := l.send(b, p); err != nil {
		return published, err
	}
	select {
	case a := <-p.answer:
		return a.published, a.err
	case <-ctx.Done():
		return published, context.Cause(ctx)
	case <-l.Done():
	}
	reason := l.reason()
	select {
	case a := <-p.answer: // it arrived just before the end, or has caused it
		return a.published, a.err
	default:
		return published, reason
	}
}

// write writes the queued frames, as many as there are in one system call.
func (l *link) write() {
	var b []byte
	for {
		select {
		case <-l.writable:
		case <-l.Done():
			return
		}
		l.mu.Lock()
		b, l.unsent = l.unsent, b[:0]
		if l.sendPong {
			b, l.sendPong = append(b, "PONG\x00"...), false
		}
		l.mu.Unlock()
		if d := l.client.opts.WriteTimeout; d > 0 {
			l.Net.SetWriteDeadline(time.Now().Add(d))
		}
		if _, err := l.Net.Write(b); err != nil {
			// If the server has closed the connection, the reader may still find the error frame
			// that gives the reason.
			l.mu.Lock()
			l.writeErrTimer = time.AfterFunc(time.Second, func() { l.Fail(err) })
			l.mu.Unlock()
			return
		}
		if cap(b) > 64<<10 {
			b = nil
		}
	}
}
