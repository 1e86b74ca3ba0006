package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"goranch/internal/redial"
	"goranch/protocol"
	"goranch/protocol/packet"
)

// link is one connection of a client.
type link struct {
	redial.Conn
	c   *Client
	out chan []byte // frames to write; never closed

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- answer
}

// answer is what has come back. Both fields are empty if the connection ended.
type answer struct {
	result json.RawMessage
	err    *packet.Error
}

// message is anything that a server sends.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *packet.Error   `json:"error"`
}

func newLink(c *Client, nc net.Conn) *link {
	l := &link{c: c, out: make(chan []byte, 16), waiting: make(map[uint64]chan<- answer)}
	l.Start(c.keep.Ctx, nc, l.read, l.write)
	return l
}

// Why returns why the connection has ended, as calls are told.
func (l *link) Why() error {
	err := l.Err()
	if errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}

// Call is that of Caller.
func (l *link) Call(ctx context.Context, method string, params, result any) error {
	reply := make(chan answer, 1)
	l.mu.Lock()
	l.last++
	id := l.last
	l.waiting[id] = reply
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
	case a := <-reply:
		return a.decode(method, result)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.Gone:
	}
	select {
	case a := <-reply: // it came just before the end
		return a.decode(method, result)
	default:
		return l.Why()
	}
}

func (a answer) decode(method string, result any) error {
	if a.err != nil {
		return a.err
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.result, result); err != nil {
		return fmt.Errorf("result of %s: %w", method, err)
	}
	return nil
}

// Notify is that of Caller.
func (l *link) Notify(ctx context.Context, method string, params any) error {
	return l.send(ctx, nil, method, params)
}

func (l *link) send(ctx context.Context, id *uint64, method string, params any) error {
	b, err := json.Marshal(struct {
		Version string  `json:"jsonrpc"`
		Method  string  `json:"method"`
		Params  any     `json:"params,omitempty"`
		ID      *uint64 `json:"id,omitempty"`
	}{"2.0", method, params, id})
	if err != nil {
		return fmt.Errorf("params of %s: %w", method, err)
	}
	if b, err = l.c.codec.Append(nil, b); err != nil {
		return fmt.Errorf("call of %s: %w", method, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case l.out <- b:
		return nil
	case <-l.Gone:
		return l.Why()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write writes what is sent, as much as waits at once, and a heartbeat when there is nothing.
func (l *link) write() {
	w := bufio.NewWriter(l.Net)
	var beat <-chan time.Time
	if d := l.c.opts.Heartbeat; d > 0 {
		t := time.NewTicker(d)
		defer t.Stop()
		beat = t.C
	}
	ping, _ := l.c.codec.Append(nil, []byte(`{"jsonrpc":"2.0","method":"ping"}`))
	for quiet := true; ; {
		var err error
		select {
		case b := <-l.out:
			quiet = false
			if _, err = w.Write(b); err == nil && len(l.out) == 0 {
				err = w.Flush()
			}
		case <-beat:
			if quiet {
				_, err = w.Write(ping)
				err = errors.Join(err, w.Flush())
			}
			quiet = true
		case <-l.Gone:
			return
		}
		if err != nil {
			// What the server has said before it closed is still to be read, and says more.
			l.Net.SetReadDeadline(time.Now().Add(time.Second))
			return
		}
	}
}

// read takes what the server sends until the connection ends.
func (l *link) read() {
	r := bufio.NewReader(l.Net)
	var said error // about the connection as a whole
	for {
		frame, err := readFrame(r, l.c.codec)
		if err == nil {
			err = l.take(frame, &said)
		}
		if err != nil {
			if said != nil {
				err = fmt.Errorf("%w: %w", said, err)
			}
			l.Fail(err)
			return
		}
	}
}

// readFrame reads a frame of any size that the codec allows, and makes room for what has come,
// not for what was announced.
func readFrame(r *bufio.Reader, codec protocol.LengthPrefix) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if _, _, _, err := codec.Decode(head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n <= 64<<10 {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// take handles one frame.
func (l *link) take(frame []byte, said *error) error {
	if len(frame) > 0 && frame[0] == '[' {
		return nil // answers to a batch, which we do not send
	}
	var m message
	if err := json.Unmarshal(frame, &m); err != nil {
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
			*said = m.Error
		}
		return nil
	}
	l.mu.Lock()
	reply := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if reply != nil { // else the call was given up
		reply <- answer{m.Result, m.Error}
	}
	return nil
}
