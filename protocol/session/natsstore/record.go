package natsstore

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"goranch/internal/sessionrecord"
	"goranch/protocol/session"
)

// A stored record consists of the header of package sessionrecord, the length of the node's
// identity, that identity, and the state. It does not contain the id.

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
	b := make([]byte, 0, sessionrecord.Size+1+len(node)+len(r.State))
	b = append(sessionrecord.Append(b, r), byte(len(node)))
	b = append(b, node...)
	return append(b, r.State...)
}

// decode returns a record whose State aliases b.
func decode(b []byte) (stored, error) {
	r, rest, ok := sessionrecord.Parse(b)
	if !ok || len(rest) < 1 || len(rest) < 1+int(rest[0]) {
		return stored{}, fmt.Errorf("%w: record of %d bytes", ErrFormat, len(b))
	}
	node, state := rest[1:1+int(rest[0])], rest[1+int(rest[0]):]
	r.State = state
	return stored{node: string(node), Record: r}, nil
}
