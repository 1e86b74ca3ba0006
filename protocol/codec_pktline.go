package protocol

import (
	"errors"
	"fmt"
)

// PktLines are the pkt-lines of Git: four hexadecimal digits with the length, which includes them,
// and a payload of at most 65,516 bytes. A frame is a whole pkt-line, with its digits: the payload
// is frame[4:], and the special packets are [PktFlush], [PktDelim] and [PktResponseEnd].
//
// Source: gitprotocol-common(5) and gitprotocol-v2(5).
type PktLines struct {
	// Max is the longest pkt-line in bytes, with its digits. 0 is 65,520, the maximum of Git;
	// negative values and greater ones are the same.
	Max int
}

// The special packets, which have no payload.
const (
	PktFlush       = "0000" // the end of a message
	PktDelim       = "0001" // between the sections of a message
	PktResponseEnd = "0002" // the end of a response over a connection without state
)

// The least and the greatest length of a pkt-line with a payload.
const (
	minPktLine = 4
	maxPktLine = 65520
)

func (c PktLines) max() int {
	if c.Max <= 0 {
		return maxPktLine
	}
	return min(c.Max, maxPktLine)
}

// Decode returns the first pkt-line.
func (c PktLines) Decode(buf []byte) (frame []byte, n, need int, err error) {
	length := 0
	for i, b := range buf[:min(len(buf), minPktLine)] {
		digit, ok := hexDigit(b)
		if !ok {
			return nil, 0, 0, fmt.Errorf("%w: byte %d of a pkt-line is %q, want a hexadecimal digit", ErrBadInput, i, b)
		}
		length = length<<4 | digit
	}
	switch {
	case len(buf) < minPktLine:
		return nil, 0, minPktLine, nil
	case length == 3:
		return nil, 0, 0, fmt.Errorf("%w: a pkt-line of length 3", ErrBadInput)
	case length < minPktLine:
		return buf[:minPktLine:minPktLine], minPktLine, 0, nil
	case length > c.max():
		return nil, 0, 0, fmt.Errorf("%w: a pkt-line of %d bytes, the limit is %d", ErrFrameTooLarge, length, c.max())
	case len(buf) < length:
		return nil, 0, length, nil
	}
	return buf[:length:length], length, 0, nil
}

func hexDigit(b byte) (int, bool) {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0'), true
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10, true
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10, true
	}
	return 0, false
}

// Append appends a whole pkt-line. [AppendPktLine] makes one of a payload.
func (c PktLines) Append(dst, frame []byte) ([]byte, error) {
	_, n, _, err := c.Decode(frame)
	return appendWhole(dst, frame, n, err)
}

// AppendPktLine appends a pkt-line with this payload. The error is that of a payload of more than
// 65,516 bytes, and dst is unchanged then.
func AppendPktLine(dst, payload []byte) ([]byte, error) {
	n := minPktLine + len(payload)
	if n > maxPktLine {
		return dst, fmt.Errorf("%w: a payload of %d bytes, the limit of pkt-lines is %d", ErrFrameTooLarge, len(payload), maxPktLine-minPktLine)
	}
	const digits = "0123456789abcdef"
	dst = append(dst, digits[n>>12], digits[n>>8&15], digits[n>>4&15], digits[n&15])
	return append(dst, payload...), nil
}

// appendWhole appends a frame that has its header, of which Decode has returned n and err.
func appendWhole(dst, frame []byte, n int, err error) ([]byte, error) {
	switch {
	case errors.Is(err, ErrFrameTooLarge):
		return dst, fmt.Errorf("cannot send: %w", err)
	case err != nil:
		return dst, fmt.Errorf("%w: %v", errBadFrame, err) // not ErrBadInput: the peer has not sent it
	case n == 0:
		return dst, fmt.Errorf("%w: %d bytes are not a whole frame", errBadFrame, len(frame))
	case n < len(frame):
		return dst, fmt.Errorf("%w: the first %d of %d bytes are a whole frame", errBadFrame, n, len(frame))
	}
	return append(dst, frame...), nil
}
