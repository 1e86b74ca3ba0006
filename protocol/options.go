package protocol

import (
	"fmt"
	"math"
	"time"

	"goranch/internal/option"
)

// NoFlush is the FlushTime that discards queued frames at the end of a connection.
const NoFlush time.Duration = -1

// Options are the settings of [Handle]. The zero value of each field is its default.
type Options struct {
	// Codec divides the stream into frames. nil is [Raw]: the result of each read is a frame.
	Codec Codec

	// Tick is the period of HandleTick. 0 is no ticks; negative values are refused.
	//
	// Ticks and read timeouts are up to a tenth of a second late, or a sixteenth of the shorter of
	// the two if that is less, but at least 10 ms.
	Tick time.Duration
	// ReadTimeout limits the time until the next frame has arrived, counted from the last frame or
	// the start of the connection. Messages and ticks do not restart it. 0 is no limit; negative
	// values are refused.
	ReadTimeout time.Duration

	// Mailbox is the maximum number of waiting messages. 0 is 64; negative values are refused.
	Mailbox int
	// FullMailbox is applied to a message that arrives at a full mailbox: [DropNewest] (the
	// default) and [CloseSlow] make [Peer.Post] return [ErrMailboxFull], [DropOldest] drops the
	// oldest waiting message. [Block] is refused.
	FullMailbox Overflow

	// Queue are the settings of the outbound queue.
	Queue QueueOptions
	// MaxQueued limits the bytes that wait in the outbound queues of all connections together.
	// While more wait, each queue is limited to a sixteenth of Queue.MaxBytes, so that clients that
	// do not read can exhaust neither the memory of the server nor the queues of other clients. 0
	// is 256 MiB; transport.NoLimit, or any negative value, is no limit.
	MaxQueued int
	// PauseAt is a number of bytes. While that many or more wait for the peer in the outbound
	// queue, no frame is read or handled, so that a peer that does not read its answers cannot fill
	// the queue with them. Messages and ticks are handled; read timeouts do not run. Frames that
	// other goroutines send meanwhile do not prolong the pause. 0 is a sixteenth of Queue.MaxBytes;
	// transport.NoLimit, or any negative value, never pauses.
	PauseAt int
	// FlushTime limits the time in which a connection that has ended sends its queued frames. 0 is
	// 5 s; [NoFlush], like any negative value, discards them.
	FlushTime time.Duration
}

// withDefaults returns o with the default of each field that is zero.
func (o Options) withDefaults() Options {
	if o.Codec == nil {
		o.Codec = Raw{}
	}
	option.Default(&o.Mailbox, 64)
	option.Default(&o.FullMailbox, DropNewest)
	option.Default(&o.FlushTime, 5*time.Second)
	o.Queue = o.Queue.withDefaults()
	option.Default(&o.MaxQueued, 256<<20)
	option.Default(&o.PauseAt, guaranteed(&o.Queue))
	for _, limit := range []*int{&o.MaxQueued, &o.PauseAt} {
		if *limit < 0 {
			*limit = math.MaxInt
		}
	}
	return o
}

// Validate reports all fields that cannot be used, those of Codec and Queue included.
func (o Options) Validate() error {
	var f option.Faults
	f.Positive("Tick", o.Tick, "0 for never")
	f.Positive("ReadTimeout", o.ReadTimeout, "0 for no limit")
	f.NotNegative("Mailbox", o.Mailbox, "0 for 64")
	switch o.FullMailbox {
	case "", CloseSlow, DropNewest, DropOldest:
	default:
		f.Bad("FullMailbox", o.FullMailbox, "CloseSlow, DropNewest, DropOldest, and \"\" for DropNewest")
	}
	f.Add(validateCodec(o.Codec))
	f.Add(o.Queue.validate())
	return f.Err()
}

// QueueOptions are the settings of an [Outbox]. The zero value of each field is its default.
type QueueOptions struct {
	// MaxBytes limits the bytes that wait for the peer. 0 is 1 MiB; negative values are refused. An
	// empty queue takes a frame of any size.
	MaxBytes int
	// Overflow is applied to a frame that exceeds MaxBytes. The default is [CloseSlow].
	Overflow Overflow
	// BlockTime limits how long [Block] waits. 0 is 1 s; negative values are refused.
	BlockTime time.Duration

	// Frames returns the number of frames in b, which are dropped together, for [Outbox.Dropped]. b
	// is one or more arguments of Send. Frames is called with the outbox locked. nil counts each
	// argument as one frame.
	Frames func(b []byte) int

	// HighWater and LowWater are numbers of waiting bytes. OnHigh is called when HighWater is
	// reached, OnLow when the queue has shrunk to LowWater again. The calls are made without a
	// lock, by the goroutine that sends or flushes, so that one may overtake the other. They must
	// not broadcast to a [Group]. 0 and nil mean never.
	HighWater, LowWater int
	OnHigh, OnLow       func(o *Outbox, queued int)
}

func (q QueueOptions) withDefaults() QueueOptions {
	option.Default(&q.MaxBytes, 1<<20)
	option.Default(&q.Overflow, CloseSlow)
	option.Default(&q.BlockTime, time.Second)
	return q
}

func (q QueueOptions) validate() error {
	var f option.Faults
	f.NotNegative("Queue.MaxBytes", q.MaxBytes, "0 for 1 MiB")
	switch q.Overflow {
	case "", CloseSlow, DropNewest, DropOldest, Block:
	default:
		f.Bad("Queue.Overflow", q.Overflow, "CloseSlow, DropNewest, DropOldest, Block, and \"\" for CloseSlow")
	}
	f.Positive("Queue.BlockTime", q.BlockTime, "0 for 1s")
	if q.HighWater < 0 || q.LowWater < 0 || q.LowWater > q.HighWater {
		f.Bad("Queue.HighWater and Queue.LowWater", fmt.Sprintf("%d and %d", q.HighWater, q.LowWater),
			"0 and positive numbers, the second not greater than the first")
	}
	return f.Err()
}

// Overflow is the policy for a frame or message that arrives at a full queue. The zero value, "",
// is the default of the field that it is used for.
type Overflow string

const (
	CloseSlow  Overflow = "close"       // the connection is closed
	DropNewest Overflow = "drop newest" // the frame is dropped
	DropOldest Overflow = "drop oldest" // the oldest waiting frames are dropped
	Block      Overflow = "block"       // the sender waits up to a time limit, then the frame is dropped
)
