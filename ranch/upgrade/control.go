package upgrade

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// maxFrame limits a frame of the control connection, in bytes.
const maxFrame = 16 << 20

// frame is a call or a reply on the control connection: four bytes of length, big endian, and JSON.
type frame struct {
	ID    uint64          `json:"id"`
	Call  string          `json:"call,omitempty"` // "" is the reply to the call of that id
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

var errFrame = errors.New("bad frame on the control connection")

// readFrame reads exactly one frame, and no byte more: descriptors may follow.
func readFrame(r io.Reader) (f frame, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return f, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return f, fmt.Errorf("%w: %d bytes, allowed are %d", errFrame, n, maxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return f, errors.Join(errFrame, err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}

func appendFrame(f frame) ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if len(b) > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes, allowed are %d", errFrame, len(b), maxFrame)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...), nil
}

// control is a connection between two processes, over which both call each other. It is closed at
// the first error.
type control struct {
	conn   net.Conn
	handle func(ctx context.Context, call string, body json.RawMessage) (any, error)
	ctx    context.Context // ends with the connection
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // the reader and running calls of the peer

	writeMu sync.Mutex

	mu     sync.Mutex
	nextID uint64
	calls  map[uint64]chan frame
}

// errEnded is the cause of a control that was closed, here or by the end of the other process.
var errEnded = errors.New("the other process has closed the control connection")

// newControl starts to read conn. handle is called in a goroutine of its own for each call of the
// peer, with a context that ends with the connection.
func newControl(conn net.Conn, handle func(context.Context, string, json.RawMessage) (any, error)) *control {
	c := &control{conn: conn, handle: handle, calls: make(map[uint64]chan frame)}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.tasks.Go(c.read)
	return c
}

// close closes the connection, and returns when no call of the peer runs any more.
func (c *control) close() {
	c.end(errEnded)
	c.tasks.Wait()
}

func (c *control) end(cause error) {
	c.cancel(cause)
	c.conn.Close()
}

func (c *control) read() {
	for {
		f, err := readFrame(c.conn)
		if err != nil {
			if !errors.Is(err, errFrame) {
				err = errEnded
			}
			c.end(err)
			return
		}
		if f.Call != "" {
			c.tasks.Go(func() { c.answer(f) })
			continue
		}
		c.mu.Lock()
		reply := c.calls[f.ID]
		delete(c.calls, f.ID)
		c.mu.Unlock()
		if reply != nil {
			reply <- f
		}
	}
}

func (c *control) answer(f frame) {
	reply := frame{ID: f.ID}
	result, err := c.handle(c.ctx, f.Call, f.Body)
	if err == nil && result != nil {
		reply.Body, err = json.Marshal(result)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	c.write(reply)
}

func (c *control) write(f frame) error {
	b, err := appendFrame(f)
	if err != nil {
		return err
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if _, err := c.conn.Write(b); err != nil {
		c.end(errEnded)
		return context.Cause(c.ctx)
	}
	return nil
}

// call calls the peer and stores its result, unless result is nil. The error is that of the peer,
// the cause of ctx, or the cause of the end of the connection.
func (c *control) call(ctx context.Context, name string, body, result any) error {
	f := frame{Call: name}
	var err error
	if body != nil {
		if f.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	reply := make(chan frame, 1)
	c.mu.Lock()
	c.nextID++
	f.ID = c.nextID
	c.calls[f.ID] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, f.ID)
		c.mu.Unlock()
	}()
	if err := c.write(f); err != nil {
		return err
	}
	select {
	case f = <-reply:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ctx.Done():
		select { // the reply may have arrived before the end
		case f = <-reply:
		default:
			return context.Cause(c.ctx)
		}
	}
	if f.Error != "" {
		return errors.New(f.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(f.Body, result)
}
