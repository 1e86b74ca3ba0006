package boltstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"goranch/protocol/session"
)

// A stored record consists of format, flags, generation, two times in nanoseconds since 1970, and
// the state.
const (
	format   = 1
	attached = 1 << 0
	header   = 2 + 3*8
)

func encode(r *session.Record) []byte {
	b := make([]byte, 0, header+len(r.State))
	flags := byte(0)
	if r.Attached {
		flags |= attached
	}
	b = append(b, format, flags)
	b = binary.BigEndian.AppendUint64(b, r.Generation)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seen.UnixNano()))
	return append(b, r.State...)
}

// decode returns a record whose State aliases b.
func decode(id, b []byte) (session.Record, error) {
	if len(b) < header || b[0] != format {
		return session.Record{}, fmt.Errorf("%w: record of %d bytes in an unknown format", ErrCorrupt, len(b))
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
	return session.Record{
		ID: string(id), Attached: b[1]&attached != 0, Generation: uint64(at(2)),
		Created: time.Unix(0, at(10)), Seen: time.Unix(0, at(18)), State: b[header:],
	}, nil
}
