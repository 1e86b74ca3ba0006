package shell

import (
	"bytes"

	"goranch/protocol"
)

// Bytes of the Telnet protocol (RFC 854), and etx, which terminals send for Ctrl-C.
const (
	etx  = 3
	se   = 240
	brk  = 243
	ip   = 244 // interrupt process
	sb   = 250
	will = 251
	wont = 252
	do   = 253
	dont = 254
	iac  = 255
)

// codec divides input into frames: lines, without their end, and interrupts (Ctrl-C or the Telnet
// commands IP and BRK). An interrupt ends a frame, with the input before it on the line. A Telnet
// negotiation at the beginning of a line is a frame of its own, so that it is answered at once.
// Frames are not decoded; the handler calls filter.
type codec struct {
	max int // longest line in bytes
}

// tooLong is the frame returned for a line above the limit. It is recognized by its address.
var tooLong = []byte("line too long")

func isTooLong(frame []byte) bool { return len(frame) > 0 && &frame[0] == &tooLong[0] }

// Decode returns the next frame.
func (c codec) Decode(buf []byte) (frame []byte, took, need int, err error) {
	for i := 0; i < len(buf); {
		n := indexMark(buf[i:])
		if n < 0 {
			break
		}
		if i += n; i > c.max+1 { // one more for a carriage return
			break
		}
		switch buf[i] {
		case '\n':
			return buf[:i:i], i + 1, 0, nil
		case etx:
			return buf[: i+1 : i+1], i + 1, 0, nil
		}
		n = commandLen(buf[i:])
		if n == 0 || i+n > c.max+2 {
			break // incomplete, or too long
		}
		if b := buf[i+1]; b == ip || b == brk || i == 0 && b != iac {
			return buf[: i+n : i+n], i + n, 0, nil
		}
		i += n
	}
	if len(buf) > c.max+1 {
		return tooLong, len(buf), 0, nil
	}
	return nil, 0, 0, nil
}

// indexMark returns the index of the next byte that Decode has to inspect: the end of the line, or
// an interrupt or Telnet command before it. It is -1 if there is none.
func indexMark(b []byte) int {
	end := bytes.IndexByte(b, '\n')
	if end >= 0 {
		b = b[:end]
	}
	for _, m := range [...]byte{etx, iac} {
		if i := bytes.IndexByte(b, m); i >= 0 {
			b, end = b[:i], i
		}
	}
	return end
}

// commandLen returns the length of the Telnet command at the beginning of b, or 0 if it is
// incomplete.
func commandLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case will, wont, do, dont:
		if len(b) < 3 {
			return 0
		}
		return 3
	case sb:
		for i := 2; i+1 < len(b); i++ {
			if b[i] == iac {
				if b[i+1] == se {
					return i + 2
				}
				i++
			}
		}
		return 0
	}
	return 2
}

// Append appends a line and a line feed.
func (codec) Append(dst, frame []byte) ([]byte, error) {
	return append(append(dst, frame...), '\n'), nil
}

var _ protocol.Codec = codec{}

// filtered is a frame without Telnet commands and carriage returns.
type filtered struct {
	line      []byte
	refusals  []byte // answers that refuse the Telnet options in the frame
	interrupt bool   // the frame is an interrupt; line is discarded
}

// filter removes Telnet commands and carriage returns from a frame, in place, with the NUL that
// Telnet sends after a lone carriage return.
func filter(frame []byte) (f filtered) {
	if bytes.IndexByte(frame, iac) < 0 && bytes.IndexByte(frame, '\r') < 0 && bytes.IndexByte(frame, etx) < 0 {
		f.line = frame
		return f
	}
	f.line = frame[:0]
	for i := 0; i < len(frame); i++ {
		switch b := frame[i]; b {
		case '\r':
			if i+1 < len(frame) && frame[i+1] == 0 {
				i++
			}
		case etx:
			f.interrupt = true
		case iac:
			n := commandLen(frame[i:])
			if n == 0 {
				return f // incomplete at the end of the stream
			}
			switch b := frame[i+1]; b {
			case iac:
				f.line = append(f.line, iac)
			case ip, brk:
				f.interrupt = true
			case will:
				f.refusals = append(f.refusals, iac, dont, frame[i+2])
			case do:
				f.refusals = append(f.refusals, iac, wont, frame[i+2])
			}
			i += n - 1
		default:
			f.line = append(f.line, b)
		}
	}
	return f
}
