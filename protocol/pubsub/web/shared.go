package web

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
	"weak"
)

// sharedFrames lets browsers that receive the same message hold the same copy of it. Otherwise one
// message would take memory for each browser that does not read. It finds the last few frames, and
// does not keep them from being collected.
type sharedFrames struct {
	seed  maphash.Seed
	slots [256]atomic.Pointer[weak.Pointer[[]byte]]
}

// minShared is the length of the shortest frames that are shared. Shorter ones take no more memory
// than the queue that refers to them.
const minShared = 64

// clone returns a copy of b, which must not be modified.
func (s *sharedFrames) clone(b []byte) []byte {
	if len(b) < minShared {
		return bytes.Clone(b)
	}
	slot := &s.slots[maphash.Bytes(s.seed, b)%uint64(len(s.slots))]
	if w := slot.Load(); w != nil {
		if c := w.Value(); c != nil && bytes.Equal(*c, b) {
			return *c
		}
	}
	c := bytes.Clone(b)
	w := weak.Make(&c)
	slot.Store(&w)
	return c
}
