package boltstore

import (
	"fmt"

	"goranch/internal/sessionrecord"
	"goranch/protocol/session"
)

// A stored record consists of the header of package sessionrecord and the state.

func encode(r *session.Record) []byte {
	b := make([]byte, 0, sessionrecord.Size+len(r.State))
	return append(sessionrecord.Append(b, r), r.State...)
}

// decode returns a record whose State aliases b.
func decode(id, b []byte) (session.Record, error) {
	r, state, ok := sessionrecord.Parse(b)
	if !ok {
		return session.Record{}, fmt.Errorf("%w: record of %d bytes in an unknown format", ErrCorrupt, len(b))
	}
	r.ID, r.State = string(id), state
	return r, nil
}
