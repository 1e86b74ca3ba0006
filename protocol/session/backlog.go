package session

import "encoding/binary"

// backlog is the output kept for the next holder. The pieces are stored in one buffer, each
// prefixed with its length, so that a million pieces of one byte cost little more than their bytes.
type backlog struct {
	buf   []byte
	head  int // offset of the oldest piece
	bytes int // bytes of output in buf
	lost  int // bytes of output dropped before the oldest piece
}

// add copies p into the backlog. It drops the oldest pieces until p fits into limit, and p itself
// if it is larger than limit. It returns the number of bytes dropped.
func (b *backlog) add(p []byte, limit int) int {
	dropped := 0
	for b.bytes > 0 && b.bytes+len(p) > limit {
		dropped += len(b.pop())
	}
	if len(p) > limit {
		dropped += len(p)
	} else {
		b.push(p)
	}
	b.lost += dropped
	return dropped
}

func (b *backlog) push(p []byte) {
	if b.head > 0 && len(b.buf)+len(p)+binary.MaxVarintLen64 > cap(b.buf) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.head:])]
		b.head = 0
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(len(p)))
	b.buf = append(b.buf, p...)
	b.bytes += len(p)
}

// oldest returns the oldest piece and the offset of the next one. The backlog must not be empty.
func (b *backlog) oldest() (p []byte, next int) {
	size, n := binary.Uvarint(b.buf[b.head:])
	next = b.head + n + int(size)
	return b.buf[b.head+n : next], next
}

func (b *backlog) pop() []byte {
	p, next := b.oldest()
	b.head = next
	b.bytes -= len(p)
	return p
}

// deliver passes every piece to h, and removes those that h accepts. It stops at the first error.
func (b *backlog) deliver(h Holder) error {
	for b.bytes > 0 {
		p, _ := b.oldest()
		if err := h.Deliver(p, b.lost); err != nil {
			return err
		}
		b.pop()
		b.lost = 0
	}
	if b.lost > 0 {
		if err := h.Deliver(nil, b.lost); err != nil {
			return err
		}
		b.lost = 0
	}
	return nil
}
