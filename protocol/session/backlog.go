package session

import "encoding/binary"

// backlog is output that waits for somebody to attach: pieces in the order in which they came, each behind
// its length, in one piece of memory. So a million pieces of a byte cost little more than their bytes.
type backlog struct {
	buf   []byte
	head  int // where the oldest begins
	bytes int // of output in buf
	lost  int // bytes of output dropped before the oldest
}

// add keeps a copy of p and drops what is too old for limit, p too if it does not fit by itself. It returns
// how many bytes were dropped.
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

// oldest returns the oldest piece, which is there, and where the next one begins.
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

// deliver gives all of it to h, once. What h does not take stays.
func (b *backlog) deliver(h Holder) error {
	if r, ok := h.(Resumer); ok {
		if err := r.Resumed(b.lost); err != nil {
			return err
		}
	}
	for b.bytes > 0 {
		p, _ := b.oldest()
		if err := h.Deliver(p); err != nil {
			return err
		}
		b.pop()
		b.lost = 0
	}
	b.lost = 0
	return nil
}
