package shell

import (
	"bytes"

	"goranch/protocol"
)

// Bytes of the telnet protocol, RFC 854, and what a terminal sends for Ctrl-C.
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

// codec divides what a client sends into lines, without what ends them, and interrupts: whatever comes
// before one on its line is part of that frame, which ends with it. What is at the beginning of a line of
// telnet's negotiation is a frame of its own, so that it is answered at once. All frames are as they were
// sent; taking telnet out of them is the handler's.
type codec struct {
	max int // bytes of a line
}

// tooLong is a frame in place of a line that is too long. It is known by its place in memory.
var tooLong = []byte("a line that is too long")

func isTooLong(frame []byte) bool { return len(frame) > 0 && &frame[0] == &tooLong[0] }

// Decode takes a line, an interrupt, or a negotiation.
func (c codec) Decode(buf []byte) (frame []byte, took, need int, err error) {
	for i := 0; i < len(buf); {
		n := indexMark(buf[i:])
		if n < 0 {
			break
		}
		if i += n; i > c.max+1 { // with a carriage return
			break
		}
		switch buf[i] {
		case '\n':
			return buf[:i:i], i + 1, 0, nil
		case etx:
			return buf[: i+1 : i+1], i + 1, 0, nil
		}
		n = command(buf[i:])
		if n == 0 || i+n > c.max+2 {
			break // the rest of it has not come, or it is too long
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

// indexMark is where the next byte is that Decode has to look at: the end of the line, or what comes before it.
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

// command returns how long the telnet command is that b begins with; 0 if its end has not come.
func command(b []byte) int {
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

// Append appends a line and its end.
func (codec) Append(dst, frame []byte) ([]byte, error) {
	return append(append(dst, frame...), '\n'), nil
}

var _ protocol.Codec = codec{}

// filtered is what a frame holds.
type filtered struct {
	line      []byte
	refusals  []byte // answers to offers and requests of options
	interrupt bool   // nothing of the line counts
}

// filter takes telnet and carriage returns, with the NUL that telnet sends behind a lone one, out of a frame,
// in place.
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
			n := command(frame[i:])
			if n == 0 {
				return f // cut off by the end of the stream
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
