package natsstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"goranch/protocol/session"
)

// A stored record consists of format, flags, generation, two times in nanoseconds since 1970, the
// length of the node's identity, that identity, and the state. It does not contain the id.
const (
	format   = 1
	attached = 1 << 0
	header   = 2 + 3*8 + 1
)

// stored is a record as it is in the bucket.
type stored struct {
	session.Record        // without ID
	node           string // the identity of the node that wrote it
	revision       uint64
}

// owner is a node in one generation of a session.
type owner struct {
	node       string
	generation uint64
}

func (r *stored) owner() owner { return owner{r.node, r.Generation} }

// keyOf returns the key of a session in the bucket. It is a hash because ids are secrets.
func keyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func encode(r *session.Record, node string) []byte {
	b := make([]byte, 0, header+len(node)+len(r.State))
	flags := byte(0)
	if r.Attached {
		flags |= attached
	}
	b = append(b, format, flags)
	b = binary.BigEndian.AppendUint64(b, r.Generation)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Seen.UnixNano()))
	b = append(b, byte(len(node)))
	b = append(b, node...)
	return append(b, r.State...)
}

// decode returns a record whose State aliases b.
func decode(b []byte) (stored, error) {
	if len(b) < header || b[0] != format || len(b) < header+int(b[header-1]) {
		return stored{}, fmt.Errorf("%w: record of %d bytes", ErrFormat, len(b))
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
	state := header + int(b[header-1])
	return stored{node: string(b[header:state]), Record: session.Record{
		Attached: b[1]&attached != 0, Generation: uint64(at(2)),
		Created: time.Unix(0, at(10)), Seen: time.Unix(0, at(18)), State: b[state:],
	}}, nil
}
