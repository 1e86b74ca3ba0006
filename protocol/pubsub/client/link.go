package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"goranch/internal/redial"
	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
)

// maxUnsent is how many bytes of requests may wait that the server does not take.
const maxUnsent = 16 << 20

// link is one connection of a client.
type link struct {
	redial.Conn
	c     *Client
	wake  chan struct{} // something is to be written; holds one
	hello chan struct{} // closed by the greeting; token is set before
	token string

	again  bool   // it has to subscribe again; under the client's lock, as the next
	resubs int    // of those, which have not been confirmed
	did    uint64 // and which have

	mu      sync.Mutex
	last    uint64
	out     []byte
	pong    bool
	left    []string   // unsubscribed from since the last request that is answered
	waiting []*pending // in the order in which the server answers
	fuse    *time.Timer
}

// pending is a request that will be answered: by ACK, or if id is not 0 by a frame with that.
type pending struct {
	id    uint64
	sub   *Sub        // of a subscribe
	again bool        // after the session was lost
	left  []string    // what is unsubscribed by the time of the answer
	reply chan answer // holds one
}

type answer struct {
	n   int
	err error
}

func newLink(c *Client, nc net.Conn) *link {
	l := &link{c: c, wake: make(chan struct{}, 1), hello: make(chan struct{})}
	l.out = append([]byte("<regular-socket/>"), ourEnd)
	l.wake <- struct{}{}
	l.Start(c.keep.Context(), nc, l.read, l.write)
	return l
}

// Wait returns when the connection has ended, and its goroutines.
func (l *link) Wait() {
	l.Conn.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fuse != nil {
		l.fuse.Stop()
	}
}

// Why returns why the connection has ended, as requests are told, once the one to blame has its answer.
func (l *link) Why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.Err()
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}

// send has a frame written, and p, if it is not nil, wait for the answer.
func (l *link) send(b []byte, p *pending) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out)+len(b) > maxUnsent {
		return fmt.Errorf("%w: %d bytes wait to be sent", protocol.ErrQueueFull, len(l.out))
	}
	l.out = append(l.out, b...)
	if p != nil {
		p.left, l.left = l.left, nil
		l.waiting = append(l.waiting, p)
	}
	l.rouse()
	return nil
}

func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// leave unsubscribes, which has no answer.
func (l *link) leave(name string) {
	b, err := (&request{Action: "unsubscribe", Data: name}).encode(l.c.opts.MaxFrame)
	if err == nil && l.send(b, nil) == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.left = append(l.left, name)
	}
}

// ask sends a request, and waits for its answer.
func (l *link) ask(ctx context.Context, r *request) (n int, err error) {
	p := &pending{reply: make(chan answer, 1)}
	if r.Action != "attach" {
		l.mu.Lock()
		l.last++
		p.id = l.last
		l.mu.Unlock()
		r.ID = &p.id
	}
	b, err := r.encode(l.c.opts.MaxFrame)
	if err != nil {
		return 0, err
	}
	if err := l.send(b, p); err != nil {
		return 0, err
	}
	select {
	case a := <-p.reply:
		return a.n, a.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-l.Done():
	}
	why := l.Why()
	select {
	case a := <-p.reply: // it came just before the end, or is about that
		return a.n, a.err
	default:
		return 0, why
	}
}

// write writes what there is, as much as waits at once.
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
		if l.pong {
			b, l.pong = append(b, "PONG\x00"...), false
		}
		l.mu.Unlock()
		if d := l.c.opts.WriteTimeout; d > 0 {
			l.Net.SetWriteDeadline(time.Now().Add(d))
		}
		if _, err := l.Net.Write(b); err != nil {
			// What the server has said before it closed is still to be read, and says more.
			l.mu.Lock()
			l.fuse = time.AfterFunc(time.Second, func() { l.Fail(err) })
			l.mu.Unlock()
			return
		}
		if cap(b) > 64<<10 {
			b = nil
		}
	}
}

// read takes what the server sends until the connection ends.
func (l *link) read() {
	r := bufio.NewReader(l.Net)
	for {
		if d := l.c.opts.Silence; d > 0 {
			l.Net.SetReadDeadline(time.Now().Add(d))
		}
		b, err := readFrame(r, l.c.opts.MaxFrame)
		if err == nil {
			err = l.take(b)
		}
		if err != nil {
			l.Fail(err)
			return
		}
	}
}

// take handles one frame.
func (l *link) take(b []byte) error {
	switch string(b) {
	case "", "PONG":
		return nil
	case "PING":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pong = true
		l.rouse()
		return nil
	case "ACK":
		l.answered(0, answer{})
		return nil
	}
	if isStamped(b) {
		return l.takeStamped(b)
	}
	var n notice
	if err := parse(b, &n); err != nil {
		return err
	}
	switch {
	case n.Error != nil:
		return l.refused(*n.Error)
	case n.Dropped > 0:
		l.c.happened(Event{Kind: Dropped, N: n.Dropped})
	case n.LostBytes > 0:
		l.c.happened(Event{Kind: LostBytes, N: n.LostBytes})
	case n.Published != nil:
		l.number(n.ID, *n.Published)
	case n.Subscribers != nil:
		l.number(n.ID, *n.Subscribers)
	}
	return nil // what else a later server may say
}

func (l *link) takeStamped(b []byte) error {
	var s stamped
	if err := parse(b, &s); err != nil {
		return err
	}
	if s.Topic != nil {
		l.deliver(s.message())
		return nil
	}
	select {
	case <-l.hello:
		return fmt.Errorf("%w: a second greeting", ErrBadFrame)
	default:
	}
	l.token = text(s.Token)
	if len(s.Token) == 0 || s.Token[0] != '"' {
		l.token = ""
	}
	close(l.hello)
	return nil
}

func (l *link) number(id []byte, n int) {
	if k, err := strconv.ParseUint(string(id), 10, 64); err == nil && k > 0 {
		l.answered(k, answer{n: n})
	}
}

// answered gives an answer to the oldest request that waits for it.
func (l *link) answered(id uint64, a answer) {
	l.mu.Lock()
	var p *pending
	for i, w := range l.waiting {
		if w.id == id {
			p = w
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	if p == nil {
		return // the request was given up
	}
	if len(p.left) > 0 {
		l.c.forget(p.left)
	}
	if p.sub != nil {
		l.c.confirm(l, p)
	}
	p.reply <- a
}

// refused tells who is to blame for the end of the connection: it is the oldest request that has no answer, for
// the server handles them one after the other.
func (l *link) refused(said string) error {
	if said == pubsub.ErrTakenOver.Error() {
		return ErrTakenOver
	}
	err := fmt.Errorf("%w: %s", ErrRefused, said)
	if said == session.ErrUnknown.Error() {
		return fmt.Errorf("the session was ended: %s", said) // by somebody else
	}
	l.mu.Lock()
	if len(l.waiting) == 0 {
		l.mu.Unlock()
		return err
	}
	p := l.waiting[0]
	l.waiting = l.waiting[1:]
	end := fmt.Errorf("another request was %v", err)
	l.Fail(end) // first: who gets the answer must not find this connection any more
	p.reply <- answer{err: err}
	l.mu.Unlock()
	if p.sub != nil {
		l.c.refused(p.sub, err)
	}
	return end
}
