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
)

// maxServerFrame is the longest frame that the topic server may send.
const maxServerFrame = 16 << 20

var (
	errSlow = errors.New("the browser does not keep up")
	errGone = errors.New("the topic server has closed the connection")
)

// refusal is what the topic server says before it closes a connection.
type refusal string

func (r refusal) Error() string { return string(r) }

// upstream is a browser's connection to the topic server. A goroutine reads it, whether the browser keeps
// up or not.
type upstream struct {
	nc   net.Conn
	opts *Options
	more chan struct{} // there is something in the queue, or the end; holds one
	slow chan struct{} // closed when too much waits
	done chan struct{} // the goroutine has returned

	writing sync.Mutex

	mu    sync.Mutex
	queue []item
	bytes int
	trail *trail // nil: frames have no numbers
	err   error  // the end, after the queue
}

// item is a frame, and its number if it has one.
type item struct {
	n     uint64
	frame []byte
}

func (g *Gateway) dial(ctx context.Context) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, g.opts.WriteTimeout)
	defer cancel()
	nc, err := g.opts.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("the topic server cannot be reached: %w", err)
	}
	u := &upstream{nc: nc, opts: &g.opts, more: make(chan struct{}, 1), slow: make(chan struct{}), done: make(chan struct{})}
	go u.read()
	return u, nil
}

// close ends the connection. What the server has sent before is still read, into the trail.
func (u *upstream) close() {
	if half, ok := u.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		u.nc.SetReadDeadline(time.Now().Add(time.Second))
		<-u.done
	}
	u.nc.Close()
	<-u.done
}

func (u *upstream) write(frame []byte) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	u.nc.SetWriteDeadline(time.Now().Add(u.opts.WriteTimeout))
	_, err := u.nc.Write(append(bytes.Clone(frame), 0x00))
	return err
}

// ask sends a request with one string.
func (u *upstream) ask(action, data string, more map[string]any) error {
	r := map[string]any{"action": action, "data": data}
	for k, v := range more {
		r[k] = v
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return u.write(b)
}

// splitFrames is a [bufio.SplitFunc].
func splitFrames(data []byte, atEOF bool) (took int, frame []byte, err error) {
	if i := bytes.IndexByte(data, 0x01); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}

func (u *upstream) read() {
	defer close(u.done)
	s := bufio.NewScanner(u.nc)
	s.Buffer(nil, maxServerFrame)
	s.Split(splitFrames)
	end := errGone
	for s.Scan() {
		frame := s.Bytes()
		if string(frame) == "PING" {
			u.write([]byte("PONG")) // if it does not arrive, the end is near anyway
			continue
		}
		var r struct {
			Error *string `json:"error"`
		}
		if bytes.HasPrefix(frame, []byte(`{"error":`)) && json.Unmarshal(frame, &r) == nil && r.Error != nil {
			end = refusal(*r.Error)
			break
		}
		if !u.push(bytes.Clone(frame)) {
			end = errSlow
			break
		}
	}
	u.nc.Close()
	u.mu.Lock()
	u.err = end
	u.mu.Unlock()
	if end == errSlow {
		close(u.slow)
	}
	u.rouse()
}

// push reports whether there was room.
func (u *upstream) push(frame []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	it := item{frame: frame}
	if u.trail != nil && isMessage(frame) {
		it.n = u.trail.add(frame)
	}
	u.queue = append(u.queue, it)
	u.bytes += len(frame)
	u.rouse()
	return u.bytes <= u.opts.MaxBuffered || len(u.queue) == 1 // one alone may be longer
}

func (u *upstream) rouse() {
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// follow has messages numbered from now on, those that wait included.
func (u *upstream) follow(t *trail) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.trail = t
	for i, it := range u.queue {
		if isMessage(it.frame) {
			u.queue[i].n = t.add(it.frame)
		}
	}
}

// next returns the next frame. [io.EOF] is that of the tick, nil for none.
func (u *upstream) next(ctx context.Context, tick <-chan time.Time) (item, error) {
	for {
		u.mu.Lock()
		if u.err == errSlow {
			u.mu.Unlock()
			return item{}, errSlow
		}
		if len(u.queue) > 0 {
			it := u.queue[0]
			u.queue[0] = item{}
			u.queue = u.queue[1:]
			u.bytes -= len(it.frame)
			u.mu.Unlock()
			return it, nil
		}
		err := u.err
		u.mu.Unlock()
		if err != nil {
			return item{}, err
		}
		select {
		case <-u.more:
		case <-tick:
			return item{}, io.EOF
		case <-ctx.Done():
			return item{}, context.Cause(ctx)
		}
	}
}

// isMessage tells messages, which are published, from all else. Only these and the greeting have a
// timestamp, which the server puts first.
func isMessage(frame []byte) bool {
	if !bytes.HasPrefix(frame, []byte(`{"timestamp":[`)) {
		return false
	}
	_, rest, _ := bytes.Cut(frame, []byte("]"))
	return !bytes.HasPrefix(rest, []byte(`,"token":`)) || hasTopic(frame)
}

func hasTopic(frame []byte) bool {
	var m struct {
		Topic *string `json:"topic"`
	}
	return json.Unmarshal(frame, &m) == nil && m.Topic != nil
}

// greeting returns the session's token.
func (u *upstream) greeting(ctx context.Context) (token string, err error) {
	it, err := u.next(ctx, nil)
	if err != nil {
		return "", err
	}
	var hello struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(it.frame, &hello); err != nil {
		return "", fmt.Errorf("the topic server does not greet: %w", err)
	}
	return hello.Token, nil
}

// acknowledged waits for ACK, and returns the frames that have come before.
func (u *upstream) acknowledged(ctx context.Context) (before []item, err error) {
	for {
		it, err := u.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		if string(it.frame) == "ACK" {
			return before, nil
		}
		before = append(before, it)
	}
}
