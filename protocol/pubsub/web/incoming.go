package web

import (
	"errors"

	"goranch/internal/bufpool"
)

// errBusy ends a WebSocket whose message exceeds what is left of MaxBufferedTotal.
var errBusy = errors.New("too many messages are incomplete")

// incoming is a message of a browser that arrives. It grows by pieces, so that it is not copied and
// its memory is at most twice what has arrived.
type incoming struct {
	budget *budget
	pieces [][]byte // of bufpool; all but the last one are full
	size   int      // capacity of all pieces, with which budget is charged
}

const maxPiece = 32 << 10

// space returns the free part of the last piece, and adds a piece if there is none.
func (m *incoming) space() ([]byte, error) {
	if last := len(m.pieces) - 1; last < 0 || len(m.pieces[last]) == cap(m.pieces[last]) {
		b := bufpool.Get(min(m.size, maxPiece))
		m.pieces = append(m.pieces, b)
		m.size += cap(b)
		if !m.budget.charge(cap(b), m.size) {
			return nil, errBusy
		}
	}
	b := m.pieces[len(m.pieces)-1]
	return b[len(b):cap(b)], nil
}

// filled adds the first n bytes of space.
func (m *incoming) filled(n int) {
	last := &m.pieces[len(m.pieces)-1]
	*last = (*last)[:len(*last)+n]
}

// join returns the message in a buffer of bufpool with space for one byte more, and frees the
// pieces.
func (m *incoming) join() []byte {
	b := bufpool.Get(m.size + 1)
	for _, p := range m.pieces {
		b = append(b, p...)
	}
	m.freePieces()
	return b
}

func (m *incoming) freePieces() {
	for _, p := range m.pieces {
		bufpool.Put(p)
	}
	m.pieces = nil
}

// free frees the message, also in the budget.
func (m *incoming) free() {
	m.freePieces()
	m.budget.release(m.size)
	m.size = 0
}
