package sniff

import (
	"encoding/binary"

	"goranch/internal/engine"
)

const (
	recordHandshake = 22      // RFC 8446, section 5.1
	recordHeader    = 5       // bytes
	maxRecord       = 1 << 14 // bytes of payload
	messageHeader   = 4       // type and length: RFC 8446, section 4

	// maxRecords limits the records of a ClientHello, so that walking over their headers again for
	// each byte that arrives stays cheap. Clients send one record, or a few.
	maxRecords = 128
)

// reader reads a handshake message, or a vector in it, from the records that contain it, without
// copying it. Methods after the end of the message set bad and return 0.
type reader struct {
	b      []byte // the bytes from here on, beginning with a record's header if record is 0
	record int    // bytes left of the payload of the record
	n      int    // bytes left to read
	bad    bool
}

// helloIn returns a reader for the ClientHello with which first begins. more means that it is not
// complete; n of the reader is 0 if there is none.
func helloIn(first []byte) (message reader, more bool) {
	if match, more := isTLS(first); !match {
		return reader{}, more
	}
	size, payload := messageHeader, 0
	rest := first
	for range maxRecords {
		n, more, ok := recordSize(rest)
		if !ok || more {
			return reader{}, more && ok
		}
		rest = rest[recordHeader+n:]
		payload += n
		if size == messageHeader && payload >= messageHeader {
			m := reader{b: first, n: messageHeader}
			m.skip(1)
			if size += m.uint(3); size > engine.MaxPeek {
				return reader{}, false
			}
		}
		if payload >= size {
			return reader{b: first, n: size}, false
		}
	}
	return reader{}, false
}

// recordSize returns the size of the payload of the handshake record with which b begins. more
// means that the record is not complete. A record without payload is not allowed: RFC 8446, section
// 5.1.
func recordSize(b []byte) (n int, more, ok bool) {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
		return 0, false, false
	}
	if len(b) < recordHeader {
		return 0, true, true
	}
	n = int(binary.BigEndian.Uint16(b[3:]))
	return n, len(b) < recordHeader+n, 0 < n && n <= maxRecord
}

// nextRecord skips the header of a record, if one is next.
func (r *reader) nextRecord() {
	if r.record == 0 {
		r.record = int(binary.BigEndian.Uint16(r.b[3:]))
		r.b = r.b[recordHeader:]
	}
}

// take returns the next bytes, at most n: those that are in one record.
func (r *reader) take(n int) []byte {
	r.nextRecord()
	n = min(n, r.record)
	b := r.b[:n]
	r.b = r.b[n:]
	r.record -= n
	r.n -= n
	return b
}

// fits reports whether n bytes are left. If not, it moves to the end.
func (r *reader) fits(n int) bool {
	if n > r.n {
		r.bad, r.n = true, 0
	}
	return !r.bad
}

func (r *reader) skip(n int) {
	for r.fits(n) && n > 0 {
		n -= len(r.take(n))
	}
}

// uint returns the number in the next size bytes.
func (r *reader) uint(size int) (v int) {
	if !r.fits(size) {
		return 0
	}
	for range size {
		v = v<<8 | int(r.take(1)[0])
	}
	return v
}

// vector returns a reader for the next vector, whose length is in the next size bytes.
func (r *reader) vector(size int) reader {
	n := r.uint(size)
	v := *r
	if r.skip(n); r.bad {
		return reader{bad: true}
	}
	v.n = n
	return v
}

// append appends all that is left to b.
func (r reader) append(b []byte) []byte {
	for r.n > 0 {
		b = append(b, r.take(r.n)...)
	}
	return b
}

// equal reports whether s is what is left.
func (r reader) equal(s string) bool {
	if r.n != len(s) {
		return false
	}
	for r.n > 0 {
		b := r.take(r.n)
		if string(b) != s[:len(b)] {
			return false
		}
		s = s[len(b):]
	}
	return true
}
