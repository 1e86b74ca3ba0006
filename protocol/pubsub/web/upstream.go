package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"goranch/internal/bufpool"
	"goranch/internal/engine"
)

// The ends of frames.
const (
	clientEnd = 0x00
	serverEnd = 0x01
)

// maxServerFrame limits the length of a frame of the topic server, in bytes.
const maxServerFrame = 16 << 20

var (
	errSlow           = errors.New("the browser reads too slowly")
	errUpstreamClosed = errors.New("the topic server has closed the connection")
	errLongFrame      = errors.New("the topic server has sent too long a frame")
	errEmpty          = errors.New("nothing is queued")
)

// serverError is the reason that the topic server gives before it closes a connection.
type serverError string

func (e serverError) Error() string { return string(e) }

// upstream is a browser's connection to the topic server. What it receives is queued, independently
// of the browser: in memory by the topic server's goroutines, else by one of its own.
type upstream struct {
	nc       net.Conn
	g        *Gateway
	opts     *Options
	readable chan struct{} // has one element when the queue or err has changed
	slow     chan struct{} // closed when the queue exceeds MaxBuffered
	done     chan struct{} // closed when nothing is received any more
	finished sync.Once

	writeMu sync.Mutex

	// The received data; calls of receive are sequential.
	partial []byte // an incomplete frame, in a buffer of bufpool
	end     error  // ends the stream; what follows is dropped

	mu      sync.Mutex
	queue   []frame
	bytes   int
	replay  *replayBuffer // numbers the messages; nil for WebSockets
	onSlow  func()        // called when slow is closed; nil: none
	forward func()        // started when the queue or err has changed; nil for event streams
	running bool          // forward runs, or has ended for good
	err     error         // the end of the stream, after the queue
}

// frame is a frame of the topic server. number is not 0 for messages of an event stream.
type frame struct {
	number uint64
	data   []byte
}

func (g *Gateway) dial(ctx context.Context) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, g.opts.WriteTimeout)
	defer cancel()
	nc, err := g.opts.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the topic server: %w", err)
	}
	u := &upstream{
		nc: nc, g: g, opts: &g.opts,
		readable: make(chan struct{}, 1), slow: make(chan struct{}), done: make(chan struct{}),
	}
	if r, ok := nc.(engine.Receiver); ok {
		r.Receive(func(b []byte) {
			if !u.receive(b) {
				go u.finish() // closes nc, which is locked
			}
		}, u.finish)
	} else {
		go u.read()
	}
	return u, nil
}

// close closes the connection. It first reads what the server has already sent, for the replay
// buffer.
func (u *upstream) close() {
	defer u.drop()
	if half, ok := u.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		u.nc.SetReadDeadline(time.Now().Add(time.Second))
		<-u.done
	}
	u.nc.Close()
	<-u.done
}

// drop drops the queue, to which nothing is added any more.
func (u *upstream) drop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.g.queued.release(u.bytes)
	u.queue, u.bytes = nil, 0
}

// write sends a frame.
func (u *upstream) write(b []byte) error {
	return u.send(append(bytes.Clone(b), clientEnd))
}

// send sends a frame with its end.
func (u *upstream) send(b []byte) error {
	u.writeMu.Lock()
	defer u.writeMu.Unlock()
	u.nc.SetWriteDeadline(time.Now().Add(u.opts.WriteTimeout))
	_, err := u.nc.Write(b)
	return err
}

// request sends a request. fields are added to action and data.
func (u *upstream) request(action, data string, fields map[string]any) error {
	r := map[string]any{"action": action, "data": data}
	for k, v := range fields {
		r[k] = v
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return u.write(b)
}

// read receives what nc reads.
func (u *upstream) read() {
	b := make([]byte, 4<<10)
	for {
		n, err := u.nc.Read(b)
		if !u.receive(b[:n]) || err != nil {
			u.finish()
			return
		}
	}
}

// receive queues the frames in b. It reports false when the stream has ended.
func (u *upstream) receive(b []byte) bool {
	for len(b) > 0 && u.end == nil {
		part, rest, complete := bytes.Cut(b, []byte{serverEnd})
		b = rest
		switch {
		case complete && len(u.partial) == 0:
			u.end = u.accept(part)
			continue
		case len(u.partial)+len(part) > maxServerFrame:
			u.end = errLongFrame
			continue
		}
		u.partial = append(bufpool.Grow(u.partial, len(u.partial)+len(part)), part...)
		if complete {
			u.end = u.accept(u.partial)
			u.freePartial()
		}
	}
	return u.end == nil
}

func (u *upstream) freePartial() {
	bufpool.Put(u.partial)
	u.partial = nil
}

// accept handles a frame of the server, without its end.
func (u *upstream) accept(b []byte) error {
	if string(b) == "PING" {
		go u.write([]byte("PONG")) // a failure also ends the next read
		return nil
	}
	var refusal struct {
		Error *string `json:"error"`
	}
	if bytes.HasPrefix(b, []byte(`{"error":`)) && json.Unmarshal(b, &refusal) == nil && refusal.Error != nil {
		return serverError(*refusal.Error)
	}
	// A browser closes a WebSocket on which invalid UTF-8 arrives. This server refuses such
	// messages; others may not.
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	if !u.push(u.g.shared.clone(b)) {
		return errSlow
	}
	return nil
}

// finish closes the connection, and ends the stream after the queue.
func (u *upstream) finish() {
	u.finished.Do(func() {
		defer close(u.done)
		u.nc.Close() // receive is not called any more
		u.freePartial()
		err := cmp.Or(u.end, errUpstreamClosed)
		if err == errSlow {
			u.drop()
			close(u.slow)
		}
		u.mu.Lock()
		u.err = err
		onSlow := u.onSlow
		u.notify()
		u.mu.Unlock()
		if err == errSlow && onSlow != nil {
			onSlow()
		}
	})
}

// push queues a frame. It reports false if the queue exceeds MaxBuffered. The longest frame does
// not count: it may exceed the limit alone, and before it is taken, others may follow it and
// precede it.
func (u *upstream) push(data []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := frame{data: data}
	if u.replay != nil && isMessage(data) {
		f.number = u.replay.add(data)
	}
	u.queue = append(u.queue, f)
	u.bytes += len(data)
	u.notify()
	within := u.bytes <= u.opts.MaxBuffered || u.bytes-u.longest() <= u.opts.MaxBuffered
	return u.g.queued.charge(len(data), u.bytes) && within || len(u.queue) == 1
}

// longest returns the length of the longest frame in the queue. u.mu is held.
func (u *upstream) longest() int {
	n := 0
	for _, f := range u.queue {
		n = max(n, len(f.data))
	}
	return n
}

// notify reports that the queue or err has changed. u.mu is held.
func (u *upstream) notify() {
	if u.forward != nil {
		if !u.running {
			u.running = true
			go u.forward()
		}
		return
	}
	select {
	case u.readable <- struct{}{}:
	default:
	}
}

// setForward has f called in a goroutine of its own when poll has a result. f calls poll until that
// returns errEmpty, or another error.
func (u *upstream) setForward(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forward = f
	if len(u.queue) > 0 || u.err != nil {
		u.notify()
	}
}

// setOnSlow sets a function that is called when the queue exceeds a limit.
func (u *upstream) setOnSlow(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.onSlow = f
}

// setReplay makes b number and hold all messages from now on, including those in the queue.
func (u *upstream) setReplay(b *replayBuffer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.replay = b
	for i, f := range u.queue {
		if isMessage(f.data) {
			u.queue[i].number = b.add(f.data)
		}
	}
}

// next returns the next frame. It returns [io.EOF] when tick fires; tick may be nil.
func (u *upstream) next(ctx context.Context, tick <-chan time.Time) (frame, error) {
	for {
		if f, err := u.poll(); err != errEmpty {
			return f, err
		}
		select {
		case <-u.readable:
		case <-tick:
			return frame{}, io.EOF
		case <-ctx.Done():
			return frame{}, context.Cause(ctx)
		}
	}
}

// poll is next without waiting: it returns errEmpty if there is nothing to return.
func (u *upstream) poll() (frame, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err == errSlow:
		return frame{}, errSlow
	case len(u.queue) > 0:
		f := u.queue[0]
		u.queue[0] = frame{}
		u.queue = u.queue[1:]
		u.bytes -= len(f.data)
		if len(u.queue) == 0 {
			u.queue = nil // with the frames that were taken
		}
		u.g.queued.release(len(f.data))
		return f, nil
	case u.err != nil:
		return frame{}, u.err
	}
	u.running = false
	return frame{}, errEmpty
}

// isMessage reports whether a frame is a published message. Only messages and the greeting begin
// with a timestamp; a message may contain a token as well, but not without a topic.
func isMessage(b []byte) bool {
	if !bytes.HasPrefix(b, []byte(`{"timestamp":[`)) {
		return false
	}
	_, rest, _ := bytes.Cut(b, []byte("]"))
	return !bytes.HasPrefix(rest, []byte(`,"token":`)) || hasTopic(b)
}

func hasTopic(b []byte) bool {
	var m struct {
		Topic *string `json:"topic"`
	}
	return json.Unmarshal(b, &m) == nil && m.Topic != nil
}

// readGreeting returns the session's token.
func (u *upstream) readGreeting(ctx context.Context) (token string, err error) {
	f, err := u.next(ctx, nil)
	if err != nil {
		return "", err
	}
	var greeting struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(f.data, &greeting); err != nil {
		return "", fmt.Errorf("invalid greeting of the topic server: %w", err)
	}
	return greeting.Token, nil
}

// readACK reads up to the next ACK, and returns the frames before it.
func (u *upstream) readACK(ctx context.Context) (before []frame, err error) {
	for {
		f, err := u.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		if string(f.data) == "ACK" {
			return before, nil
		}
		before = append(before, f)
	}
}
