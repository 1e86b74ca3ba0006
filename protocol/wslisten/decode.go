package wslisten

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/coder/websocket"

	"goranch/internal/websock"
	"goranch/protocol"
)

// violation is the error of a client that violates RFC 6455, or MaxMessage.
type violation struct {
	code websocket.StatusCode
	text string
}

func (v *violation) Error() string { return fmt.Sprintf("%v: WebSocket: %s", v.Unwrap(), v.text) }

// Unwrap returns the error of package protocol that v is.
func (v *violation) Unwrap() error {
	if v.code == websocket.StatusMessageTooBig {
		return protocol.ErrFrameTooLarge
	}
	return protocol.ErrBadInput
}

func protocolError(format string, args ...any) error {
	return &violation{websocket.StatusProtocolError, fmt.Sprintf(format, args...)}
}

// decoder decodes the frames of a client. It can be interrupted at any byte, and holds no payload
// but that of one control frame.
type decoder struct {
	max int64 // of a message; negative: no limit

	// The current frame.
	header [14]byte
	have   int   // bytes of header
	left   int64 // bytes of the payload that have not arrived
	mask   [4]byte
	op     websock.Opcode

	// The current message.
	open   bool  // more frames of it follow
	fin    bool  // the current data frame is its last one
	size   int64 // of the frames so far
	text   utf8Checker
	isText bool

	// Control frames.
	control  [websock.MaxControl]byte
	nControl int
	ping     []byte // the payload of the last ping that is not answered, valid if pinged
	pinged   bool
	closed   bool // a close frame has arrived; what follows is ignored
	code     websocket.StatusCode
}

// decode decodes what has arrived, moves the payload of messages to the beginning of p, and returns
// its length.
func (d *decoder) decode(p []byte) (n int, err error) {
	for i := 0; i < len(p) && !d.closed; {
		if d.left == 0 {
			d.header[d.have] = p[i]
			d.have++
			i++
			complete, err := d.parseHeader()
			if err != nil {
				return n, err
			}
			if complete {
				d.have = 0
				if d.left == 0 {
					err = d.endFrame()
				}
			}
			if err != nil {
				return n, err
			}
			continue
		}
		chunk := p[i:min(int64(len(p)), int64(i)+d.left)]
		i += len(chunk)
		d.left -= int64(len(chunk))
		d.unmask(chunk)
		if d.op >= websock.Close {
			d.nControl += copy(d.control[d.nControl:], chunk)
		} else if d.isText && !d.text.valid(chunk) {
			return n, errNotUTF8
		} else {
			n += copy(p[n:], chunk)
		}
		if d.left == 0 {
			if err := d.endFrame(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// parseHeader examines the last byte of the header, and reports whether the header is complete.
func (d *decoder) parseHeader() (complete bool, err error) {
	h := d.header[:d.have]
	switch len(h) {
	case 1:
		return false, d.checkFirst(h[0])
	case 2:
		length := h[1] & 0x7f
		switch {
		case h[1]&0x80 == 0:
			return false, protocolError("a frame is not masked")
		case length > websock.MaxControl && d.opcode() >= websock.Close:
			return false, protocolError("a control frame is longer than %d bytes", websock.MaxControl)
		case length < 126:
			return false, d.checkLength(uint64(length), 0)
		}
		return false, nil
	}
	extended := 0
	switch h[1] & 0x7f {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	switch len(h) {
	case 2 + extended:
		return false, d.checkLength(d.length(extended), extended)
	case 2 + extended + 4:
		d.begin(int64(d.length(extended)))
		copy(d.mask[:], h[2+extended:])
		return true, nil
	}
	return false, nil
}

func (d *decoder) opcode() websock.Opcode { return websock.Opcode(d.header[0] & 0x0f) }

// length returns the length in a header with so many bytes of extended length.
func (d *decoder) length(extended int) uint64 {
	switch extended {
	case 2:
		return uint64(binary.BigEndian.Uint16(d.header[2:]))
	case 8:
		return binary.BigEndian.Uint64(d.header[2:])
	}
	return uint64(d.header[1] & 0x7f)
}

// checkFirst examines the first byte of a header.
func (d *decoder) checkFirst(b byte) error {
	fin := b&0x80 != 0
	switch op := d.opcode(); {
	case b&0x70 != 0:
		return protocolError("reserved bits are set, but no extension was negotiated")
	case op > websock.Binary && op < websock.Close || op > websock.Pong:
		return protocolError("unknown opcode %d", op)
	case op >= websock.Close && !fin:
		return protocolError("a control frame is fragmented")
	case op == websock.Continuation && !d.open:
		return protocolError("a frame continues no message")
	case (op == websock.Text || op == websock.Binary) && d.open:
		return protocolError("a message begins within another one")
	}
	return nil
}

// checkLength examines the length of a frame, which has so many extended bytes.
func (d *decoder) checkLength(length uint64, extended int) error {
	size := d.size
	if !d.open {
		size = 0
	}
	switch {
	case length > math.MaxInt64:
		return protocolError("a length of more than 63 bits")
	case extended == 2 && length < 126, extended == 8 && length <= math.MaxUint16:
		return protocolError("the length %d is encoded in %d bytes", length, extended)
	case d.opcode() >= websock.Close || d.max < 0:
	case length > uint64(d.max)-uint64(size):
		return &violation{websocket.StatusMessageTooBig, fmt.Sprintf("a message is longer than %d bytes", d.max)}
	}
	return nil
}

// begin begins the payload of a frame.
func (d *decoder) begin(length int64) {
	d.op, d.left = d.opcode(), length
	if d.op >= websock.Close {
		d.nControl = 0
		return
	}
	if !d.open {
		d.size, d.isText, d.text = 0, d.op == websock.Text, utf8Checker{}
	}
	d.fin = d.header[0]&0x80 != 0
	d.open = !d.fin
	if d.max >= 0 { // otherwise the sum may overflow, and is not needed
		d.size += length
	}
}

func (d *decoder) unmask(b []byte) {
	m := d.mask
	i := 0
	if len(b) >= 16 {
		key := uint64(binary.LittleEndian.Uint32(m[:]))
		key |= key << 32
		for ; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(b[i:])^key)
		}
	}
	for j := i; j < len(b); j++ {
		b[j] ^= m[j&3] // i is a multiple of 4
	}
	for j := range d.mask {
		d.mask[j] = m[(j+len(b))&3]
	}
}

// endFrame handles the end of a frame.
func (d *decoder) endFrame() error {
	payload := d.control[:d.nControl]
	switch d.op {
	case websock.Ping:
		d.ping, d.pinged = append(d.ping[:0], payload...), true
	case websock.Close:
		return d.endClose(payload)
	case websock.Continuation, websock.Text, websock.Binary:
		if d.fin && d.isText && d.text.n > 0 {
			return errNotUTF8
		}
	}
	return nil
}

// endClose handles the payload of a close frame.
func (d *decoder) endClose(payload []byte) error {
	d.code = websocket.StatusNoStatusRcvd
	switch {
	case len(payload) == 1:
		return protocolError("a close code of one byte")
	case len(payload) >= 2:
		d.code = websocket.StatusCode(binary.BigEndian.Uint16(payload))
		if !validCode(d.code) {
			return protocolError("close code %d", int(d.code))
		}
		if !utf8.Valid(payload[2:]) {
			return errNotUTF8
		}
	}
	d.closed = true
	return nil
}

// validCode reports whether a close frame may carry a code.
func validCode(code websocket.StatusCode) bool {
	switch code {
	case 1004, websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure, websocket.StatusTLSHandshake:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

var errNotUTF8 error = &violation{websocket.StatusInvalidFramePayloadData, "text is not UTF-8"}

// utf8Checker examines text that arrives in pieces.
type utf8Checker struct {
	tail [utf8.UTFMax]byte // the beginning of a character
	n    int
}

func (u *utf8Checker) valid(b []byte) bool {
	for u.n > 0 && len(b) > 0 {
		u.tail[u.n] = b[0]
		u.n, b = u.n+1, b[1:]
		if utf8.FullRune(u.tail[:u.n]) {
			if !utf8.Valid(u.tail[:u.n]) {
				return false
			}
			u.n = 0
		}
	}
	whole := wholeRunes(b)
	u.n += copy(u.tail[u.n:], b[whole:])
	return utf8.Valid(b[:whole])
}

// wholeRunes returns the length of b without the beginning of a character at its end.
func wholeRunes(b []byte) int {
	for i := max(0, len(b)-utf8.UTFMax+1); i < len(b); i++ {
		if utf8.RuneStart(b[i]) && !utf8.FullRune(b[i:]) {
			return i
		}
	}
	return len(b)
}
