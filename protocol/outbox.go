package protocol

import (
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// Outbox sends frames to a peer without waiting for it. The goroutine that sends writes what the
// connection takes at once. The rest is queued in order, and written by a goroutine that exists
// while the queue is not empty, many frames in one system call. An empty Outbox holds neither a
// buffer nor a goroutine.
//
// When a write fails, or the queue is full under [CloseSlow], reads of the connection fail with the
// same error. All methods may be called from any goroutine. Nothing else may write to the
// connection.
type Outbox struct {
	// State. Used by each send; these fields come first, so that they share cache lines.
	mu      sync.Mutex  // guards the state
	q       *queue      // nil if nothing waits and no goroutine flushes
	corked  *[]byte     // frames to be sent together; nil if not corked
	err     error       // sending has ended
	eng     engine.Conn // set once
	queuing atomic.Bool // q is set; read without mu too
	ending  bool        // the connection is to end: WaitBelow returns

	// Other fields.
	dropped uint64         // frames, as counted by QueueOptions.Frames
	opts    *outboxOptions // set once
}

// outboxOptions are shared by all outboxes of a protocol.
type outboxOptions struct {
	QueueOptions
	all *queued // bytes that wait in all of them; nil: not counted
}

// conn returns the connection. It is not stored in addition to eng, to save memory.
func (o *Outbox) conn() *transport.Conn { return o.eng.Conn().(*transport.Conn) }

// NewOutbox returns an outbox for conn. The error reports all options that cannot be used.
func NewOutbox(conn *transport.Conn, opts QueueOptions) (*Outbox, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Outbox{eng: engine.Of(conn), opts: &outboxOptions{QueueOptions: opts.withDefaults()}}, nil
}

// Send sends p, one or more frames that are encoded already, and does not keep p. It waits only
// under the policy [Block]. The error is [ErrDropped] if p was dropped. Any other error is final:
// that of a write, [ErrQueueFull], or [ErrEnded].
func (o *Outbox) Send(p []byte) error { return o.send(p, true) }

// SendAlone is Send for a frame that must not be written together with others, because the peer
// takes the result of each read as one frame.
func (o *Outbox) SendAlone(p []byte) error { return o.wait(p, true) }

// send sends p. Under Block it waits for space only if wait is set, else it drops p.
func (o *Outbox) send(p []byte, wait bool) error {
	o.mu.Lock()
	if o.q != nil || o.corked != nil || o.err != nil {
		o.mu.Unlock()
		if wait {
			return o.wait(p, false)
		}
		return o.try(p)
	}
	n, err := o.eng.TryWrite(p)
	if n < len(p) || err != nil || o.eng.Unflushed() {
		return o.sentPart(p, n, err)
	}
	o.mu.Unlock()
	return nil
}

// sentPart completes a send of which the connection took n bytes. It unlocks o.mu.
//
//go:noinline
func (o *Outbox) sentPart(p []byte, n int, err error) error {
	high, err := o.wrote(p, n, err, false)
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	return err
}

// wait sends p, and waits for space if the policy is Block.
//
//go:noinline
func (o *Outbox) wait(p []byte, alone bool) error {
	deadline := time.Time{}
	for {
		space, err := o.offer(p, alone)
		if space == nil {
			return err
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(o.opts.BlockTime)
		}
		if !waitFor(space, deadline.Sub(now)) {
			return o.drop(p)
		}
	}
}

// drop counts a frame for which there was no space.
func (o *Outbox) drop(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.countDropped(p)
	return ErrDropped
}

// countDropped counts the frames in p. o.mu is held.
func (o *Outbox) countDropped(p []byte) {
	n := 1
	if o.opts.Frames != nil {
		n = o.opts.Frames(p)
	}
	o.dropped += uint64(n)
}

func waitFor(space <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-space:
		return true
	case <-t.C:
		return false
	}
}

// try sends p, or drops it if there is no space.
//
//go:noinline
func (o *Outbox) try(p []byte) error {
	space, err := o.offer(p, false)
	if space != nil {
		return o.drop(p)
	}
	return err
}

// offer writes or queues p. If the policy is Block and there is no space, it returns a channel that
// is closed when there may be space.
func (o *Outbox) offer(p []byte, alone bool) (space <-chan struct{}, err error) {
	space, high, err := o.put(p, alone)
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	return space, err
}

// put is offer without the callback: high is the argument for OnHigh, 0 for no call.
func (o *Outbox) put(p []byte, alone bool) (space <-chan struct{}, high int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.corked != nil && o.err == nil {
		if !alone {
			*o.corked = append(*o.corked, p...)
		}
		if alone || len(*o.corked) >= corkSize {
			high = o.writeCorked()
		}
		if !alone {
			return nil, high, o.err
		}
	}
	switch {
	case o.err != nil:
		return nil, high, o.err
	case o.q == nil:
		high = max(high, o.write(p, alone))
		o.uncorkQueued()
		return nil, high, o.err
	}
	q := o.q
	if limit := o.limit(); q.size()+len(p) > limit {
		switch o.opts.Overflow {
		case DropOldest:
			if excess := q.size() + len(p) - limit; excess <= q.droppable() {
				o.dropped += uint64(q.drop(excess, o.opts.Frames))
			}
		case Block:
			return q.awaitSpace(), 0, nil
		case CloseSlow:
			o.fail(ErrQueueFull)
			o.conn().SetWriteDeadline(time.Unix(1, 0)) // interrupts the write in progress
			return nil, 0, o.err
		}
		if q.size()+len(p) > limit {
			o.countDropped(p)
			return nil, 0, ErrDropped
		}
	}
	return nil, max(high, o.enqueue(p, alone)), nil
}

// write writes what the connection takes, and queues the rest. o.mu is held, and the queue is
// empty.
func (o *Outbox) write(p []byte, alone bool) (high int) {
	n, err := o.eng.TryWrite(p)
	if err == nil && n == len(p) && !o.eng.Unflushed() {
		return 0
	}
	high, _ = o.wrote(p, n, err, alone)
	return high
}

// wrote handles a write that failed, or of which n bytes were taken: it queues the rest and starts
// the goroutine that flushes. o.mu is held.
func (o *Outbox) wrote(p []byte, n int, err error, alone bool) (high int, _ error) {
	if err != nil {
		o.fail(err)
		return 0, err
	}
	o.setQueue(&queue{begun: n > 0 && n < len(p)})
	if n == len(p) {
		o.q.unflushed = n
	}
	high = o.enqueue(p[n:], alone)
	go o.flush()
	return high, nil
}

// setQueue sets the queue; nil is none. o.mu is held.
func (o *Outbox) setQueue(q *queue) {
	o.q = q
	o.queuing.Store(q != nil)
}

// enqueue appends p to the queue. o.mu is held.
func (o *Outbox) enqueue(p []byte, alone bool) (high int) {
	o.q.push(p, o.opts.Overflow == DropOldest, alone)
	o.count()
	if n := o.q.size(); o.opts.OnHigh != nil && o.opts.HighWater > 0 && !o.q.high && n >= o.opts.HighWater {
		o.q.high = true
		return n
	}
	return 0
}

// fail ends sending. It stops reading too, because further requests could not be answered.
// o.mu is held.
func (o *Outbox) fail(err error) {
	if o.err == nil {
		o.err = err
		o.conn().StopReading(err)
	}
}

// Queued returns the number of bytes that wait for the peer, without those in the kernel's buffer.
func (o *Outbox) Queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.q == nil {
		return 0
	}
	return o.q.size()
}

// Dropped returns the number of dropped frames, as counted by QueueOptions.Frames.
func (o *Outbox) Dropped() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// failure returns the error with which sending has ended, nil if it has not.
func (o *Outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// close makes later sends fail, and reports whether everything before was written.
func (o *Outbox) close() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := o.q == nil && o.err == nil
	if o.err == nil {
		o.err = ErrEnded // not by fail: the cause for which reads were stopped must stay
	}
	return done
}

// busy reports whether something waits or is being written.
func (o *Outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.q != nil
}
