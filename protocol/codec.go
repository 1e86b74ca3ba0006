package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"goranch/internal/option"
)

// defaultMaxFrame is the size limit of the codecs if Max is 0, in bytes.
const defaultMaxFrame = 256 << 10

// Codec divides a stream of bytes into frames. It has no state: one value serves all connections,
// from any goroutine. If it has a method Validate() error, [Options.Validate] calls it.
type Codec interface {
	// Decode returns the first frame of buf, and the number of bytes that the frame takes in buf.
	// If the frame is incomplete, n is 0 and need is the number of bytes that it takes at least, or
	// 0 if that is unknown. frame is a part of buf. A frame that is too long has to be refused as
	// soon as its length is known.
	Decode(buf []byte) (frame []byte, n, need int, err error)
	// Append appends the encoded frame to dst. On error it returns dst unchanged.
	Append(dst, frame []byte) ([]byte, error)
}

// validateCodec reports the options of c that cannot be used.
func validateCodec(c Codec) error {
	switch c := c.(type) {
	case interface{ Validate() error }:
		return c.Validate()
	case interface{ validate() error }:
		return c.validate()
	}
	return nil
}

func fault(field string, value any, allowed string) error {
	var f option.Faults
	f.Bad(field, value, allowed)
	return f.Err()
}

// Raw is the codec of protocols without frames: the result of each read is a frame.
type Raw struct{}

// Decode returns all of buf.
func (Raw) Decode(buf []byte) (frame []byte, n, need int, err error) { return buf, len(buf), 0, nil }

// Append appends the frame unchanged.
func (Raw) Append(dst, frame []byte) ([]byte, error) { return append(dst, frame...), nil }

// LengthPrefix precedes each frame with its length, as Erlang's {packet, 1 | 2 | 4} does.
type LengthPrefix struct {
	// Size is the size of the length in bytes: 1, 2 or 4. 0 is 4; other values are refused.
	Size int
	// LittleEndian selects the byte order of the length. The default is network byte order.
	LittleEndian bool
	// Inclusive means that the length includes its own bytes.
	Inclusive bool
	// Max is the longest frame in bytes, without its length. 0 is 256 KiB; transport.NoLimit, or
	// any negative value, is what the length can express, up to 2 GiB.
	Max int
}

func (c LengthPrefix) validate() error {
	switch c.Size {
	case 0, 1, 2, 4:
		return nil
	}
	return fault("LengthPrefix.Size", c.Size, "1, 2, 4, and 0 for 4")
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

// Decode decodes a length and the frame after it.
func (c LengthPrefix) Decode(buf []byte) (frame []byte, n, need int, err error) {
	if err := c.validate(); err != nil {
		return nil, 0, 0, err
	}
	size := c.size()
	if len(buf) < size {
		return nil, 0, size, nil
	}
	var length int64
	switch size {
	case 1:
		length = int64(buf[0])
	case 2:
		length = int64(c.order().Uint16(buf))
	default:
		length = int64(c.order().Uint32(buf))
	}
	if c.Inclusive {
		if length -= int64(size); length < 0 {
			return nil, 0, 0, fmt.Errorf("%w: length %d is less than its own %d bytes", ErrBadInput, length+int64(size), size)
		}
	}
	if length > int64(maxFrame(c.Max)) {
		return nil, 0, 0, fmt.Errorf("%w: length %d, the limit is %d bytes", ErrFrameTooLarge, length, maxFrame(c.Max))
	}
	total := size + int(length)
	if len(buf) < total {
		return nil, 0, total, nil
	}
	return buf[size:total:total], total, 0, nil
}

// Append appends the length and the frame.
func (c LengthPrefix) Append(dst, frame []byte) ([]byte, error) {
	if err := c.validate(); err != nil {
		return dst, err
	}
	size := c.size()
	n := len(frame)
	if c.Inclusive {
		n += size
	}
	if len(frame) > maxFrame(c.Max) {
		return dst, tooLarge(frame, c.Max)
	}
	if uint64(n) >= 1<<(8*size) {
		return dst, fmt.Errorf("%w: a length of %d bytes cannot express %d", ErrFrameTooLarge, size, n)
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

// noLimit leaves space for the bytes that the codec adds, so that no sum overflows an int of 32
// bits.
const noLimit = math.MaxInt32 - 1024

func maxFrame(n int) int {
	switch {
	case n == 0:
		return defaultMaxFrame
	case n < 0:
		return noLimit
	}
	return min(n, noLimit)
}

// tooLarge is the error of a frame to be sent that is longer than max.
func tooLarge(frame []byte, max int) error {
	return fmt.Errorf("%w: cannot send %d bytes, the limit is %d", ErrFrameTooLarge, len(frame), maxFrame(max))
}

// VarintPrefix precedes each frame with its length as an unsigned varint, as Protocol Buffers do.
type VarintPrefix struct {
	// Max is the longest frame in bytes. 0 is 256 KiB; transport.NoLimit, or any negative value, is
	// 2 GiB.
	Max int
}

// Decode decodes a length and the frame after it.
func (c VarintPrefix) Decode(buf []byte) (frame []byte, n, need int, err error) {
	length, size := binary.Uvarint(buf)
	switch {
	case size == 0:
		return nil, 0, len(buf) + 1, nil
	case size < 0:
		return nil, 0, 0, fmt.Errorf("%w: a length of more than 64 bits", ErrFrameTooLarge)
	case length > uint64(maxFrame(c.Max)):
		return nil, 0, 0, fmt.Errorf("%w: length %d, the limit is %d bytes", ErrFrameTooLarge, length, maxFrame(c.Max))
	}
	total := size + int(length)
	if len(buf) < total {
		return nil, 0, total, nil
	}
	return buf[size:total:total], total, 0, nil
}

// Append appends the length and the frame.
func (c VarintPrefix) Append(dst, frame []byte) ([]byte, error) {
	if len(frame) > maxFrame(c.Max) {
		return dst, tooLarge(frame, c.Max)
	}
	return append(binary.AppendUvarint(dst, uint64(len(frame))), frame...), nil
}

// Delimited ends each frame with a delimiter, which no frame may contain.
type Delimited struct {
	// By is the delimiter, 1 to 1024 bytes.
	By string
	// Max is the longest frame in bytes, without the delimiter. 0 is 256 KiB; transport.NoLimit, or
	// any negative value, is 2 GiB.
	Max int
}

func (c Delimited) validate() error {
	if n := len(c.By); n >= 1 && n <= 1024 {
		return nil
	}
	return fault("Delimited.By", fmt.Sprintf("of %d bytes", len(c.By)), "1 to 1024 bytes")
}

// Decode returns the bytes before the next delimiter.
func (c Delimited) Decode(buf []byte) (frame []byte, n, need int, err error) {
	if err := c.validate(); err != nil {
		return nil, 0, 0, err
	}
	limit := maxFrame(c.Max)
	window := buf[:min(len(buf), limit+len(c.By))]
	i := bytes.Index(window, []byte(c.By))
	switch {
	case i >= 0:
		return buf[:i:i], i + len(c.By), 0, nil
	case len(buf) >= limit+len(c.By):
		return nil, 0, 0, fmt.Errorf("%w: no %q within %d bytes", ErrFrameTooLarge, c.By, limit)
	}
	return nil, 0, 0, nil
}

// Append appends the frame and the delimiter.
func (c Delimited) Append(dst, frame []byte) ([]byte, error) {
	if len(frame) > maxFrame(c.Max) {
		return dst, tooLarge(frame, c.Max)
	}
	if err := c.validate(); err != nil {
		return dst, err
	}
	encoded := append(append(dst, frame...), c.By...)
	// A delimiter may also begin at the end of the frame and end in the real one.
	if bytes.Index(encoded[len(dst):], []byte(c.By)) < len(frame) {
		return dst, fmt.Errorf("%w: it contains its delimiter %q", errBadFrame, c.By)
	}
	return encoded, nil
}

// Lines ends each frame with a line feed. Decode removes a carriage return before it.
type Lines struct {
	// Max is the longest line in bytes. 0 is 256 KiB; transport.NoLimit, or any negative value, is
	// 2 GiB.
	Max int
}

// Decode returns the bytes before the next line feed, without a carriage return at their end.
func (c Lines) Decode(buf []byte) (frame []byte, n, need int, err error) {
	limit := maxFrame(c.Max)
	frame, n, _, err = Delimited{By: "\n", Max: limit + 1}.Decode(buf) // 1 for the carriage return
	if last := len(frame) - 1; last >= 0 && frame[last] == '\r' {
		frame = frame[:last]
	}
	if err == nil && len(frame) > limit {
		return nil, 0, 0, fmt.Errorf("%w: a line of %d bytes, the limit is %d", ErrFrameTooLarge, len(frame), limit)
	}
	return frame, n, 0, err
}

// Append appends the line and a line feed. Decode removes a carriage return at the end of the line.
func (c Lines) Append(dst, frame []byte) ([]byte, error) {
	return Delimited{By: "\n", Max: c.Max}.Append(dst, frame)
}
