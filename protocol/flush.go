package protocol

import (
	"context"
	"sync"

	"goranch/internal/bufpool"
)

// flush writes the queue until it is empty.
func (o *Outbox) flush() {
	var b []byte
	defer func() { bufpool.Put(b) }()
	for {
		p, low, more := o.dequeue(&b)
		if low >= 0 {
			o.opts.OnLow(o, low)
			continue
		}
		if !more {
			return
		}
		var err error
		if len(p) == 0 {
			err = o.eng.Flush()
		} else {
			_, err = o.conn().Write(p)
		}
		if err != nil {
			o.mu.Lock()
			o.fail(err)
			o.mu.Unlock()
		}
	}
}

// dequeue moves the next bytes to b, a buffer of bufpool, and returns them. If there are none and
// more is set, the connection holds bytes that have to be flushed. low is the argument for OnLow,
// and then nothing was moved; it is negative for no call.
func (o *Outbox) dequeue(b *[]byte) (p []byte, low int, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.q
	q.inflight = 0
	defer o.count()
	if q.unflushed > 0 && !o.eng.Unflushed() {
		q.unflushed = 0
	}
	if q.high && q.size() <= o.opts.LowWater {
		q.high = false
		if o.opts.OnLow != nil {
			return nil, q.size(), true // OnLow comes before Wait returns
		}
	}
	if o.err != nil || q.size() == 0 && !o.eng.Unflushed() {
		o.setQueue(nil)
		o.opts.all.add(-q.counted)
		q.end()
		return nil, -1, false
	}
	return q.take(b, flushSize), -1, true
}

// pause waits like Wait. From then on frames are queued, until resume.
func (o *Outbox) pause(ctx context.Context) error {
	for {
		if err := o.Wait(ctx); err != nil {
			return err
		}
		o.mu.Lock()
		if o.q == nil && o.err == nil {
			o.setQueue(&queue{})
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
	}
}

// resume sends the queued frames, or ends sending with err if that is not nil.
func (o *Outbox) resume(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.fail(err)
	}
	go o.flush()
}

// flushSize is the most that is written in one system call, in bytes.
const flushSize = 64 << 10

// corkSize is the amount of corked frames that are written without waiting for more, in bytes.
const corkSize = 16 << 10

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// putScratch puts a buffer of scratch back, unless it has grown too large.
func putScratch(b *[]byte) {
	if cap(*b) <= 2*flushSize {
		*b = (*b)[:0]
		scratch.Put(b)
	}
}
