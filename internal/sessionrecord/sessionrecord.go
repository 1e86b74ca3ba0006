// Package sessionrecord encodes what all stores of sessions keep of a record besides its state.
package sessionrecord

import (
	"encoding/binary"
	"time"

	"goranch/protocol/session"
)

// A header consists of format, flags, generation, and two times in nanoseconds since 1970.
const (
	format   = 1
	attached = 1 << 0

	// Size is the length of a header in bytes.
	Size = 2 + 3*8
)

// Append appends the header of r.
func Append(b []byte, r *session.Record) []byte {
	flags := byte(0)
	if r.Attached {
		flags |= attached
	}
	b = append(b, format, flags)
	b = binary.BigEndian.AppendUint64(b, r.Generation)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created.UnixNano()))
	return binary.BigEndian.AppendUint64(b, uint64(r.Seen.UnixNano()))
}

// Parse returns the record of which b begins with the header, without id and state, and what
// follows the header. ok is false if b is too short or has another format.
func Parse(b []byte) (r session.Record, rest []byte, ok bool) {
	if len(b) < Size || b[0] != format {
		return session.Record{}, nil, false
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
	return session.Record{
		Attached: b[1]&attached != 0, Generation: uint64(at(2)),
		Created: time.Unix(0, at(10)), Seen: time.Unix(0, at(18)),
	}, b[Size:], true
}
