package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// DefaultMaxFrame is the longest frame of the codecs of this package, in bytes, unless they
// say otherwise.
const DefaultMaxFrame = 256 << 10

// ErrFrameTooLarge is wrapped by the error of a frame that is longer than its codec allows.
// If the peer has sent it, the error is [ErrBadInput] as well.
var ErrFrameTooLarge = fmt.Errorf("%w: frame too large", ErrBadInput)

var (
	// ErrBadCodec is wrapped by the errors of a codec of which a field cannot be used.
	ErrBadCodec = errors.New("bad codec")
	// ErrBadFrame is wrapped by the error of a frame that cannot be sent whatever its size.
	ErrBadFrame = errors.New("bad frame")
)

// Codec divides a stream of bytes into frames. It has no state of its own: one value serves
// all connections, from any goroutine. If it has a method Validate() error, [Options.Validate]
// asks it.
type Codec interface {
	// Decode takes the first frame off buf. frame is a part of buf, without what belongs to
	// the codec; took is how many bytes of buf it has cost. If buf does not hold a whole frame,
	// took is 0 and need is how many bytes it takes at least, or 0 if that cannot be told.
	// A frame that is too long has to be refused as soon as its length is known.
	Decode(buf []byte) (frame []byte, took, need int, err error)
	// Append appends the frame to dst as it goes over the wire. On error dst is returned as
	// it was.
	Append(dst, frame []byte) ([]byte, error)
}

// Raw is the codec of protocols without frames: whatever has arrived is one.
type Raw struct{}

// Decode returns all of buf.
func (Raw) Decode(buf []byte) (frame []byte, took, need int, err error) { return buf, len(buf), 0, nil }

// Append appends the frame as it is.
func (Raw) Append(dst, frame []byte) ([]byte, error) { return append(dst, frame...), nil }

// LengthPrefix puts the length of a frame before it, as Erlang's {packet, 1 | 2 | 4} does.
type LengthPrefix struct {
	// Size is the length's size in bytes: 1, 2 or 4. 0 is 4; others are refused.
	Size int
	// LittleEndian turns its bytes round; the default is network order.
	LittleEndian bool
	// Inclusive says that the length counts itself.
	Inclusive bool
	// Max is the longest frame in bytes, without its length. 0 is 256 KiB; negative is what the
	// length can express, but no more than 2 GiB.
	Max int
}

// Validate reports a size that cannot be used, with an error that is [ErrBadCodec].
func (c LengthPrefix) Validate() error {
	switch c.Size {
	case 0, 1, 2, 4:
		return nil
	}
	return fmt.Errorf("%w: LengthPrefix.Size %d: allowed are 1, 2 and 4, and 0 for 4", ErrBadCodec, c.Size)
}

func (c LengthPrefix) size() int {
	if c.Size == 0 {
		return 4
	}
	return c.Size
}

func (c LengthPrefix) order() interface {
	binary.ByteOrder
	binary.AppendByteOrder
} {
	if c.LittleEndian {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// Decode takes a length and as many bytes.
func (c LengthPrefix) Decode(buf []byte) (frame []byte, took, need int, err error) {
	if err := c.Validate(); err != nil {
		return nil, 0, 0, err
	}
	size := c.size()
	if len(buf) < size {
		return nil, 0, size, nil
	}
	var n int64
	switch size {
	case 1:
		n = int64(buf[0])
	case 2:
		n = int64(c.order().Uint16(buf))
	default:
		n = int64(c.order().Uint32(buf))
	}
	if c.Inclusive {
		if n -= int64(size); n < 0 {
			return nil, 0, 0, fmt.Errorf("%w: a frame of length %d, of which the length itself takes %d", ErrBadInput, n+int64(size), size)
		}
	}
	if n > int64(maxFrame(c.Max)) {
		return nil, 0, 0, fmt.Errorf("%w: %d bytes announced, allowed are %d", ErrFrameTooLarge, n, maxFrame(c.Max))
	}
	if total := size + int(n); len(buf) < total {
		return nil, 0, total, nil
	}
	return buf[size : size+int(n) : size+int(n)], size + int(n), 0, nil
}

// Append appends length and frame.
func (c LengthPrefix) Append(dst, frame []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return dst, err
	}
	size := c.size()
	n := len(frame)
	if c.Inclusive {
		n += size
	}
	if len(frame) > maxFrame(c.Max) || uint64(n) >= 1<<(8*size) {
		return dst, fmt.Errorf("%w: %d bytes to send, allowed are %d, and what a length of %d bytes can express", ErrFrameTooLarge, len(frame), maxFrame(c.Max), size)
	}
	switch size {
	case 1:
		dst = append(dst, byte(n))
	case 2:
		dst = c.order().AppendUint16(dst, uint16(n))
	default:
		dst = c.order().AppendUint32(dst, uint32(n))
	}
	return append(dst, frame...), nil
}

// noLimit leaves room for what belongs to the codec, so that no sum overflows an int of 32 bits.
const noLimit = math.MaxInt32 - 1024

func maxFrame(n int) int {
	switch {
	case n == 0:
		return DefaultMaxFrame
	case n < 0:
		return noLimit
	}
	return min(n, noLimit)
}

// VarintPrefix puts the length of a frame before it as an unsigned varint, as Protocol Buffers
// do.
type VarintPrefix struct {
	// Max is the longest frame in bytes. 0 is 256 KiB; negative is 2 GiB.
	Max int
}

// Decode takes a length and as many bytes.
func (c VarintPrefix) Decode(buf []byte) (frame []byte, took, need int, err error) {
	n, size := binary.Uvarint(buf)
	switch {
	case size == 0:
		return nil, 0, len(buf) + 1, nil
	case size < 0:
		return nil, 0, 0, fmt.Errorf("%w: a length of more than 64 bits", ErrFrameTooLarge)
	case n > uint64(maxFrame(c.Max)):
		return nil, 0, 0, fmt.Errorf("%w: %d bytes announced, allowed are %d", ErrFrameTooLarge, n, maxFrame(c.Max))
	}
	total := size + int(n)
	if len(buf) < total {
		return nil, 0, total, nil
	}
	return buf[size:total:total], total, 0, nil
}

// Append appends length and frame.
func (c VarintPrefix) Append(dst, frame []byte) ([]byte, error) {
	if len(frame) > maxFrame(c.Max) {
		return dst, fmt.Errorf("%w: %d bytes to send, allowed are %d", ErrFrameTooLarge, len(frame), maxFrame(c.Max))
	}
	return append(binary.AppendUvarint(dst, uint64(len(frame))), frame...), nil
}

// Delimited ends each frame with the same bytes, which no frame may contain.
type Delimited struct {
	// By is what ends a frame, 1 to 1024 bytes.
	By string
	// Max is the longest frame in bytes, without what ends it. 0 is 256 KiB; negative is 2 GiB.
	Max int
}

// Validate reports a delimiter that cannot be used, with an error that is [ErrBadCodec].
func (c Delimited) Validate() error {
	if len(c.By) == 0 || len(c.By) > 1024 {
		return fmt.Errorf("%w: Delimited.By has %d bytes: allowed are 1 to 1024", ErrBadCodec, len(c.By))
	}
	return nil
}

// Decode takes everything up to the next delimiter.
func (c Delimited) Decode(buf []byte) (frame []byte, took, need int, err error) {
	if err := c.Validate(); err != nil {
		return nil, 0, 0, err
	}
	limit := maxFrame(c.Max)
	seen := buf[:min(len(buf), limit+len(c.By))]
	i := bytes.Index(seen, []byte(c.By))
	switch {
	case i >= 0:
		return buf[:i:i], i + len(c.By), 0, nil
	case len(buf) >= limit+len(c.By):
		return nil, 0, 0, fmt.Errorf("%w: no %q within %d bytes", ErrFrameTooLarge, c.By, limit)
	}
	return nil, 0, 0, nil
}

// Append appends frame and delimiter.
func (c Delimited) Append(dst, frame []byte) ([]byte, error) {
	if len(frame) > maxFrame(c.Max) {
		return dst, fmt.Errorf("%w: %d bytes to send, allowed are %d", ErrFrameTooLarge, len(frame), maxFrame(c.Max))
	}
	if err := c.Validate(); err != nil {
		return dst, err
	}
	sent := append(append(dst, frame...), c.By...)
	if bytes.Index(sent[len(dst):], []byte(c.By)) < len(frame) { // the end of one and the beginning of the other count too
		return dst, fmt.Errorf("%w: a frame that contains its delimiter %q cannot be sent", ErrBadFrame, c.By)
	}
	return sent, nil
}

// Lines ends each frame with a line feed. A carriage return before it is dropped.
type Lines struct {
	// Max is the longest line in bytes. 0 is 256 KiB; negative is 2 GiB.
	Max int
}

// Decode takes a line.
func (c Lines) Decode(buf []byte) (frame []byte, took, need int, err error) {
	limit := maxFrame(c.Max)
	frame, took, _, err = Delimited{By: "\n", Max: limit + 1}.Decode(buf) // the carriage return
	if n := len(frame); n > 0 && frame[n-1] == '\r' {
		frame = frame[:n-1]
	}
	if err == nil && len(frame) > maxFrame(c.Max) {
		return nil, 0, 0, fmt.Errorf("%w: a line of %d bytes, allowed are %d", ErrFrameTooLarge, len(frame), maxFrame(c.Max))
	}
	return frame, took, 0, err
}

// Append appends the line and a line feed. A carriage return at its end is lost to a reader that
// drops it.
func (c Lines) Append(dst, frame []byte) ([]byte, error) {
	return Delimited{By: "\n", Max: c.Max}.Append(dst, frame)
}
