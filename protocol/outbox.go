package protocol

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// Defaults of [QueueOptions].
const (
	DefaultQueueBytes = 1 << 20
	DefaultBlockTime  = time.Second
)

var (
	// ErrQueueFull is how a connection ends whose peer takes less than is sent to it, under the
	// policy [CloseSlow].
	ErrQueueFull = errors.New("the peer does not keep up: outbound queue full")
	// ErrDropped is returned for a frame that was dropped, by one of the other policies.
	ErrDropped = errors.New("outbound queue full: the frame was dropped")
)

// Overflow is what happens to a frame for which there is no room in the queue.
type Overflow uint8

const (
	CloseSlow  Overflow = iota // the connection is ended, with ErrQueueFull
	DropNewest                 // the frame is dropped, and Send says so
	DropOldest                 // frames that wait are dropped, the oldest first
	Block                      // Send waits for room, up to BlockTime, then drops the frame
	numOverflows
)

var overflowNames = [numOverflows]string{"close", "drop newest", "drop oldest", "block"}

// String returns the policy in words.
func (o Overflow) String() string {
	if o < numOverflows {
		return overflowNames[o]
	}
	return fmt.Sprintf("Overflow(%d)", uint8(o))
}

// QueueOptions are the settings of an [Outbox]. The zero value of each field is its default.
type QueueOptions struct {
	// MaxBytes is how much may wait for the peer. 0 is 1 MiB; negative values are refused. While
	// nothing waits, a frame is taken whatever its size.
	MaxBytes int
	// Overflow is what happens to what exceeds that. The default is to end the connection.
	Overflow Overflow
	// BlockTime is the limit of Block. 0 is 1 s; negative values are refused.
	BlockTime time.Duration
	// Frames says how many frames b is, which are dropped together, for [Outbox.Dropped]. b is one or more
	// pieces as they were given to Send. It is called with the outbox locked. nil is 1 for each piece.
	Frames func(b []byte) int
	// OnHigh is called when HighWater bytes or more wait, OnLow when that falls to LowWater or
	// less again. They are called in the goroutine that sends, or that flushes, with no lock
	// held, so that one may overtake the other, and must not broadcast to a [Group]. 0 or nil is never.
	HighWater, LowWater int
	OnHigh, OnLow       func(o *Outbox, queued int)
}

func (q QueueOptions) withDefaults() QueueOptions {
	if q.MaxBytes == 0 {
		q.MaxBytes = DefaultQueueBytes
	}
	if q.BlockTime == 0 {
		q.BlockTime = DefaultBlockTime
	}
	return q
}

// Validate reports every field that cannot be used.
func (q QueueOptions) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option Queue.%s %v: allowed %s", field, value, allowed))
	}
	if q.MaxBytes < 0 {
		bad("MaxBytes", q.MaxBytes, "are positive numbers, and 0 for 1 MiB")
	}
	if q.Overflow >= numOverflows {
		bad("Overflow", q.Overflow, "are CloseSlow, DropNewest, DropOldest and Block")
	}
	if q.BlockTime < 0 {
		bad("BlockTime", q.BlockTime, "are positive times, and 0 for 1 s")
	}
	if q.HighWater < 0 || q.LowWater < 0 || q.LowWater > q.HighWater {
		bad("HighWater and LowWater", fmt.Sprintf("%d and %d", q.HighWater, q.LowWater), "are positive numbers, the second not above the first")
	}
	return errors.Join(faults...)
}

// Outbox sends frames to a peer without waiting for it. What the connection takes at once
// is written at once, in the goroutine that sends; the rest waits in a queue, in order, and
// is written by a goroutine that lives as long as something waits, many frames in one system
// call. While nothing waits, an Outbox holds neither buffer nor goroutine.
//
// When a write fails, or the queue is full under [CloseSlow], reads of the connection fail too,
// with that error. All methods may be called from any goroutine. Nobody else may write to the
// connection.
type Outbox struct {
	conn *transport.Conn
	eng  engine.Conn // of conn
	opts *QueueOptions

	mu      sync.Mutex
	q       *queue // nil: nothing waits, and no goroutine flushes
	held    *[]byte
	err     error
	dropped uint64
}

// NewOutbox returns an outbox for conn. The error says what is wrong with the options.
func NewOutbox(conn *transport.Conn, opts QueueOptions) (*Outbox, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	return &Outbox{conn: conn, eng: engine.Of(conn), opts: &opts}, nil
}

// Send sends p, a whole frame as it goes over the wire, and does not keep it. It never waits
// for the peer unless the policy is [Block]. The error is [ErrDropped] for this frame, or the one
// with which sending has ended for good: that of a write, or [ErrQueueFull].
func (o *Outbox) Send(p []byte) error { return o.send(p, true) }

// SendAlone is Send for a frame that must not go out in one write with others, before or
// after it, for peers that take what one read returns for one frame.
func (o *Outbox) SendAlone(p []byte) error { return o.wait(p, true) }

// TrySend is Send for those who never wait: under [Block] a frame without room is dropped.
func (o *Outbox) TrySend(p []byte) error { return o.send(p, false) }

func (o *Outbox) send(p []byte, wait bool) error {
	o.mu.Lock()
	if o.q != nil || o.held != nil || o.err != nil {
		o.mu.Unlock()
		if wait {
			return o.wait(p, false)
		}
		return o.try(p)
	}
	n, err := o.eng.TryWrite(p)
	if n < len(p) || err != nil || o.eng.Unflushed() {
		return o.took(p, n, err)
	}
	o.mu.Unlock()
	return nil
}

// took is the rest of a Send of which the connection did not take all. It unlocks o.mu.
//
//go:noinline
func (o *Outbox) took(p []byte, n int, err error) error {
	high, err := o.wrote(p, n, err, false)
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	return err
}

// wait sends p when there is room.
//
//go:noinline
func (o *Outbox) wait(p []byte, alone bool) error {
	deadline := time.Time{}
	for {
		room, err := o.offer(p, alone)
		if room == nil {
			return err
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(o.opts.BlockTime)
		}
		if !waitUntil(room, deadline.Sub(now)) {
			return o.drop(p)
		}
	}
}

// drop counts a frame for which there was no room.
func (o *Outbox) drop(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count(p)
	return ErrDropped
}

// count counts p, which is dropped. o.mu is held.
func (o *Outbox) count(p []byte) {
	n := 1
	if o.opts.Frames != nil {
		n = o.opts.Frames(p)
	}
	o.dropped += uint64(n)
}

func waitUntil(room <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-room:
		return true
	case <-t.C:
		return false
	}
}

// try queues p if there is room.
//
//go:noinline
func (o *Outbox) try(p []byte) error {
	room, err := o.offer(p, false)
	if room != nil {
		return o.drop(p)
	}
	return err
}

// offer sends p or queues it. room is where to wait if there is none.
func (o *Outbox) offer(p []byte, alone bool) (room <-chan struct{}, err error) {
	room, high, err := o.put(p, alone)
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	return room, err
}

// put is offer up to the callback: high is what is queued if that has just reached the mark.
func (o *Outbox) put(p []byte, alone bool) (room <-chan struct{}, high int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held != nil && o.err == nil {
		if !alone {
			*o.held = append(*o.held, p...)
		}
		if alone || len(*o.held) >= flushSize {
			high = o.writeHeld()
		}
		if !alone {
			return nil, high, o.err
		}
	}
	switch {
	case o.err != nil:
		return nil, high, o.err
	case o.q == nil:
		return nil, max(high, o.write(p, alone)), o.err
	}
	q := o.q
	if q.size()+len(p) > o.opts.MaxBytes {
		switch o.opts.Overflow {
		case DropOldest:
			if excess := q.size() + len(p) - o.opts.MaxBytes; excess <= q.droppable() {
				o.dropped += uint64(q.drop(excess, o.opts.Frames))
			}
		case Block:
			return q.awaitRoom(), 0, nil
		case CloseSlow:
			o.fail(ErrQueueFull)
			o.conn.SetWriteDeadline(time.Unix(1, 0))
			return nil, 0, o.err
		}
		if q.size()+len(p) > o.opts.MaxBytes {
			o.count(p)
			return nil, 0, ErrDropped
		}
	}
	return nil, max(high, o.queue(p, alone)), nil
}

// write writes what the connection takes and queues the rest. o.mu is held; nothing waits.
func (o *Outbox) write(p []byte, alone bool) (high int) {
	n, err := o.eng.TryWrite(p)
	if err == nil && n == len(p) && !o.eng.Unflushed() {
		return 0
	}
	high, _ = o.wrote(p, n, err, alone)
	return high
}

// wrote is what becomes of a write that has failed, or of which n bytes were taken. o.mu is held.
func (o *Outbox) wrote(p []byte, n int, err error, alone bool) (high int, _ error) {
	if err != nil {
		o.fail(err)
		return 0, err
	}
	o.q = &queue{begun: n > 0 && n < len(p)}
	if n == len(p) {
		o.q.kept = n
	}
	high = o.queue(p[n:], alone)
	go o.flush()
	return high, nil
}

// queue puts p at the end. o.mu is held.
func (o *Outbox) queue(p []byte, alone bool) (high int) {
	o.q.push(p, o.opts.Overflow == DropOldest, alone)
	if n := o.q.size(); o.opts.OnHigh != nil && o.opts.HighWater > 0 && !o.q.high && n >= o.opts.HighWater {
		o.q.high = true
		return n
	}
	return 0
}

// fail ends sending, and reading with it: what can tell the peer nothing any more has no use
// for its requests. o.mu is held.
func (o *Outbox) fail(err error) {
	if o.err == nil {
		o.err = err
		o.conn.StopReading(err)
	}
}

// flush writes what waits until nothing does.
func (o *Outbox) flush() {
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	for {
		n, low, more := o.next(b[:])
		if low >= 0 {
			o.opts.OnLow(o, low)
			continue
		}
		if !more {
			return
		}
		var err error
		if n == 0 {
			err = o.eng.Flush()
		} else {
			_, err = o.conn.Write(b[:n])
		}
		if err != nil {
			o.mu.Lock()
			o.fail(err)
			o.mu.Unlock()
		}
	}
}

// next moves to b what is to be written next, n bytes; 0 are what the connection has kept. low
// is what still waits if that has just fallen to the mark, and nothing is moved then, else negative.
func (o *Outbox) next(b []byte) (n, low int, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.q
	q.inflight = 0
	if q.kept > 0 && !o.eng.Unflushed() {
		q.kept = 0
	}
	if q.high && q.size() <= o.opts.LowWater {
		q.high = false
		if o.opts.OnLow != nil {
			return 0, q.size(), true // before anybody is told that nothing waits
		}
	}
	if o.err != nil || q.size() == 0 && !o.eng.Unflushed() {
		o.q = nil
		q.end()
		return 0, -1, false
	}
	return q.take(b), -1, true
}

// Queued returns how many bytes wait for the peer. What the kernel holds does not count.
func (o *Outbox) Queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.q == nil {
		return 0
	}
	return o.q.size()
}

// Dropped returns how many frames were dropped; without QueueOptions.Frames those that were sent together
// count as one.
func (o *Outbox) Dropped() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// Err returns with what sending has ended for good, nil if it has not.
func (o *Outbox) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Wait returns when nothing waits any more, with the error if sending has failed, or with the
// cause of ctx if that ends first.
func (o *Outbox) Wait(ctx context.Context) error {
	o.mu.Lock()
	high := 0
	if o.held != nil && len(*o.held) > 0 && o.err == nil { // called by who holds it back
		high = o.writeHeld()
	}
	if o.q == nil {
		defer o.mu.Unlock()
		return o.err
	}
	empty := o.q.awaitEnd()
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	select {
	case <-empty:
		return o.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end refuses what is sent from now on, and reports whether everything before has gone out.
func (o *Outbox) end() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := o.q == nil && o.err == nil
	if o.err == nil {
		o.err = ErrEnded // not fail: reading is over, and Close goes by how that was stopped
	}
	return done
}

// busy reports whether something waits, or is being written.
func (o *Outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.q != nil
}

// pause waits as Wait does, and then has everything wait in the queue until resume.
func (o *Outbox) pause(ctx context.Context) error {
	for {
		if err := o.Wait(ctx); err != nil {
			return err
		}
		o.mu.Lock()
		if o.q == nil && o.err == nil {
			o.q = &queue{}
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
	}
}

// resume sends what has waited, unless err is what sending has ended with meanwhile.
func (o *Outbox) resume(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.fail(err)
	}
	go o.flush()
}

// flushSize is what is written in one system call at most.
const flushSize = 64 << 10

type buffer = *[flushSize]byte

var (
	buffers = sync.Pool{New: func() any { return new([flushSize]byte) }}
	scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}
)

// putScratch gives a buffer back, unless it has grown too large to keep.
func putScratch(b *[]byte) {
	if cap(*b) <= 2*flushSize {
		*b = (*b)[:0]
		scratch.Put(b)
	}
}
