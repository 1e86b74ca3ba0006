package websock

import (
	"encoding/binary"
	"io"
	"math"
	"unicode/utf8"

	"goranch/internal/bufpool"
)

// Opcode is the kind of a frame.
type Opcode byte

const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

// Lengths, in bytes.
const (
	MaxHeader  = 10  // of the header of a frame that a server sends
	MaxControl = 125 // of the payload of a control frame
)

// final is the bit of the last frame of a message.
const final = 0x80

// CloseByte is the first byte of each close frame that a server sends.
const CloseByte = final | byte(Close)

// AppendHeader appends the header of a frame of a server that is a message of n bytes.
func AppendHeader(b []byte, op Opcode, n int) []byte {
	switch b = append(b, final|byte(op)); {
	case n < 126:
		return append(b, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// oneWrite is the number of bytes of a message that are copied, to be written with its header.
const oneWrite = 4<<10 - MaxHeader

// WriteFrame writes a message as one frame, and returns the number of bytes written of p and of the
// whole frame.
func WriteFrame(w io.Writer, op Opcode, p []byte) (n, whole int, err error) {
	first := min(len(p), oneWrite)
	b := AppendHeader(bufpool.Get(MaxHeader+first), op, len(p))
	header := len(b)
	b = append(b, p[:first]...)
	defer func() { bufpool.Put(b) }()
	whole, err = w.Write(b)
	if err == nil && first < len(p) {
		var more int
		more, err = w.Write(p[first:])
		whole += more
	}
	return max(whole-header, 0), whole, err
}

// maxReason is the length of the longest reason in a close frame, in bytes.
const maxReason = MaxControl - 2

// Reason returns as much of s as a close frame takes, without a part of a character.
func Reason(s string) string {
	for len(s) > maxReason || !utf8.ValidString(s) {
		s = s[:min(len(s)-1, maxReason)]
	}
	return s
}
