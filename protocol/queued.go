package protocol

import "sync/atomic"

// queued counts the bytes in the queues of all connections of a protocol.
type queued struct {
	bytes atomic.Int64
	limit int64
}

// add adds n bytes, which may be negative. A nil queued counts nothing.
func (all *queued) add(n int) {
	if all != nil && n != 0 {
		all.bytes.Add(int64(n))
	}
}

// limit returns the number of bytes that may wait in the queue: fewer than QueueOptions.MaxBytes
// while too many wait in all queues.
func (o *Outbox) limit() int {
	if all := o.opts.all; all == nil || all.bytes.Load() <= all.limit {
		return o.opts.MaxBytes
	}
	return guaranteed(&o.opts.QueueOptions)
}

// guaranteed is the part of MaxBytes that a connection may use whatever waits for others.
func guaranteed(o *QueueOptions) int { return max(o.MaxBytes/16, 1) }

// count counts the bytes of the queue, after they have changed. o.mu is held.
func (o *Outbox) count() {
	if q := o.q; q != nil {
		size := q.size()
		o.opts.all.add(size - q.counted)
		q.counted = size
	}
}
