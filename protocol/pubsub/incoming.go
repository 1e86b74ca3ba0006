package pubsub

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"goranch/internal/bufpool"
	"goranch/protocol"
)

// incoming puts the frames of one client together. Its buffer grows with what has arrived, and is
// charged to the client's account.
type incoming struct {
	buf   []byte       // of a frame whose NUL has not arrived
	since atomic.Int64 // when buf received its first byte, in ns since 1970; 0 while buf is empty
	scan  *messageScan // nil: no message after PUBLISH has begun
}

// messageScan is a message after PUBLISH, and how far it was scanned.
type messageScan struct {
	scanner jsonScanner
	message message
}

// add appends a piece to the frame. The error wraps protocol.ErrFrameTooLarge or errLimit.
func (in *incoming) add(piece []byte, maxFrame int, a *account) error {
	n := len(in.buf) + len(piece)
	if n > maxFrame {
		return frameTooLarge(maxFrame)
	}
	if n > cap(in.buf) {
		if err := a.resizeFrame(cap(in.buf), bufpool.Size(n)); err != nil {
			return err
		}
		in.buf = bufpool.Grow(in.buf, n)
	}
	if len(in.buf) == 0 {
		in.since.Store(time.Now().UnixNano())
	}
	in.buf = append(in.buf, piece...)
	return nil
}

// reset drops the frame.
func (in *incoming) reset(a *account) {
	if cap(in.buf) > 0 {
		a.resizeFrame(cap(in.buf), 0)
		bufpool.Put(in.buf)
		in.buf = nil
		in.since.Store(0)
	}
}

// overdue reports whether a frame is incomplete for longer than limit.
func (in *incoming) overdue(now time.Time, limit time.Duration) bool {
	since := in.since.Load()
	return since != 0 && limit > 0 && now.UnixNano()-since > int64(limit)
}

// scanMessage scans what has arrived of a message after PUBLISH. complete is true when the message
// can be published although its NUL has not arrived. Markers and what is no JSON wait for the NUL.
func (in *incoming) scanMessage(frame []byte) (topic string, text []byte, complete bool, err error) {
	start := bytes.TrimLeft(frame, " \t\r\n")
	if len(start) == 0 || start[0] != '{' {
		return "", nil, false, nil
	}
	if in.scan == nil {
		in.scan = new(messageScan)
	}
	scanner, m := &in.scan.scanner, &in.scan.message
	complete, err = scanner.scan(frame, m)
	switch {
	case err != nil:
		return "", nil, false, messageError(err)
	case !complete:
		return "", nil, false, nil
	case !m.hasTopic:
		return "", nil, false, messageError(errNoTopic)
	}
	return m.topic, frame[len(frame)-len(start) : scanner.pos], true, nil
}

func frameTooLarge(maxFrame int) error {
	return fmt.Errorf("%w: the limit is %d bytes", protocol.ErrFrameTooLarge, maxFrame)
}
