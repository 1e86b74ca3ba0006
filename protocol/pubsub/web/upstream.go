package web

import (
	"bufio"
	"bytes"
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
)

// maxServerFrame limits the length of a frame of the topic server, in bytes.
const maxServerFrame = 16 << 20

var (
	errSlow           = errors.New("the browser reads too slowly")
	errUpstreamClosed = errors.New("the topic server has closed the connection")
	errLongFrame      = errors.New("the topic server has sent too long a frame")
)

// serverError is the reason that the topic server gives before it closes a connection.
type serverError string

func (e serverError) Error() string { return string(e) }

// upstream is a browser's connection to the topic server. A goroutine reads it into a queue,
// independently of the browser.
type upstream struct {
	nc       net.Conn
	g        *Gateway
	opts     *Options
	readable chan struct{} // has one element when the queue or err has changed
	slow     chan struct{} // closed when the queue exceeds MaxBuffered
	done     chan struct{} // closed when the goroutine has returned

	writeMu sync.Mutex

	mu     sync.Mutex
	queue  []frame
	bytes  int
	replay *replayBuffer // numbers the messages; nil for WebSockets
	onSlow func()        // called when slow is closed; nil for WebSockets
	err    error         // the end of the stream, after the queue
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
	go u.read()
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

func (u *upstream) write(b []byte) error {
	u.writeMu.Lock()
	defer u.writeMu.Unlock()
	u.nc.SetWriteDeadline(time.Now().Add(u.opts.WriteTimeout))
	_, err := u.nc.Write(append(bytes.Clone(b), 0x00))
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

// readFrame reads a frame of the server and returns it without its end, in memory of its own.
func readFrame(r *bufio.Reader) (frame []byte, err error) {
	part, err := r.ReadSlice(0x01)
	if err == nil {
		return bytes.Clone(part[:len(part)-1]), nil
	}
	var long []byte
	defer func() { bufpool.Put(long) }()
	for {
		if long = append(bufpool.Grow(long, len(long)+len(part)), part...); len(long) > maxServerFrame {
			return nil, errLongFrame
		}
		if err != bufio.ErrBufferFull {
			break
		}
		part, err = r.ReadSlice(0x01)
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(long[:len(long)-1]), nil
}

func (u *upstream) read() {
	defer close(u.done)
	r := bufio.NewReader(u.nc)
	end := errUpstreamClosed
	for {
		b, err := readFrame(r)
		if err != nil {
			break
		}
		if string(b) == "PING" {
			u.write([]byte("PONG")) // a failure also ends the next read
			continue
		}
		var refusal struct {
			Error *string `json:"error"`
		}
		if bytes.HasPrefix(b, []byte(`{"error":`)) && json.Unmarshal(b, &refusal) == nil && refusal.Error != nil {
			end = serverError(*refusal.Error)
			break
		}
		// The server refuses invalid UTF-8, but one of another kind or version may not, and browsers
		// close a WebSocket that carries it.
		if !utf8.Valid(b) {
			b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
		}
		if !u.push(b) {
			end = errSlow
			break
		}
	}
	u.nc.Close()
	u.mu.Lock()
	u.err = end
	onSlow := u.onSlow
	u.mu.Unlock()
	if end == errSlow {
		u.drop()
		close(u.slow)
		if onSlow != nil {
			onSlow()
		}
	}
	u.notify()
}

// push queues a frame. It reports false if the queue exceeds MaxBuffered; a single frame may.
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
	return u.g.queued.charge(len(data), u.bytes) && u.bytes <= u.opts.MaxBuffered || len(u.queue) == 1
}

func (u *upstream) notify() {
	select {
	case u.readable <- struct{}{}:
	default:
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
		u.mu.Lock()
		if u.err == errSlow {
			u.mu.Unlock()
			return frame{}, errSlow
		}
		if len(u.queue) > 0 {
			f := u.queue[0]
			u.queue[0] = frame{}
			u.queue = u.queue[1:]
			u.bytes -= len(f.data)
			if len(u.queue) == 0 {
				u.queue = nil // with the frames that were taken
			}
			u.mu.Unlock()
			u.g.queued.release(len(f.data))
			return f, nil
		}
		err := u.err
		u.mu.Unlock()
		if err != nil {
			return frame{}, err
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
