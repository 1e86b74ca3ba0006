package packet

import (
	"fmt"
	"math"
	"time"

	"goranch/internal/option"
	"goranch/protocol"
)

const (
	prefix          = 4 // bytes of a frame's length
	defaultMaxFrame = 256 << 10
)

// Options are the settings of a [Server]. The zero value of each field is its default.
//
// A connection that exceeds a limit on what the client sends ends with an error that wraps
// [protocol.ErrBadInput]; if a frame was too large, with [protocol.ErrFrameTooLarge].
type Options struct {
	// OnConnect is called first. An error ends the connection.
	OnConnect func(p *Peer) error
	// OnTick is called every Tick. An error ends the connection.
	OnTick func(p *Peer) error
	// OnEnd is called last, exactly once for each connection, whatever ended it: the place to save
	// the connection's state. err is as for HandleClose of [protocol.Callbacks]. The connection is
	// counted by its listener until OnEnd returns.
	OnEnd func(p *Peer, err error)
	// OnError is called with each error that a method returns, or that encoding its result
	// causes, if it is not an [*Error].
	OnError func(call *Call, err error)

	// BytesPerSecond limits the bytes that a client may send, including the lengths of frames. 0 is
	// 1 MiB; negative values, such as [transport.NoLimit], are no limit.
	BytesPerSecond int
	// BytesBurst is how many of them it may send at once. 0 is twice BytesPerSecond, or one frame
	// of MaxFrame if that is more; negative values and those below that frame are refused.
	BytesBurst int
	// FramesPerSecond limits the frames that a client may send; a batch is one frame. 0 is 200;
	// negative values, such as [transport.NoLimit], are no limit.
	FramesPerSecond int
	// FramesBurst is how many of them it may send at once. 0 is twice FramesPerSecond; negative
	// values are refused.
	FramesBurst int
	// ReadTimeout ends a connection that has sent no frame for this long, with an error that wraps
	// os.ErrDeadlineExceeded. 0 is 5 min; negative values, such as [transport.NoTimeout], are no
	// timeout.
	ReadTimeout time.Duration
	// Tick is the interval of OnTick. 0 is 1 s; negative values disable OnTick.
	Tick time.Duration
	// MaxFrame limits the bytes of a frame, without its length, in both directions. 0 is 256 KiB;
	// negative values and those below 256 are refused.
	MaxFrame int
	// MaxBatch limits the requests of a batch. 0 is 100; negative values are refused.
	MaxBatch int
	// AllowUnknownFields ignores fields of params that a method's struct does not have, instead of
	// refusing them.
	AllowUnknownFields bool
	// ExposeErrors sends the text of an error that is not an [*Error] to the client, as the data of
	// an internal error.
	ExposeErrors bool
	// Queue limits what waits to be sent to a client. By default the connection ends when more
	// than 1 MiB waits. A response that does not fit always ends it. While 8 KiB wait, or a
	// sixteenth of Queue.MaxBytes if that is less, the next request is not read.
	Queue protocol.QueueOptions
}

// validate returns the faults of all fields, joined.
func (o Options) validate() error {
	var f option.Faults
	if least := o.maxFrame() + prefix; o.BytesBurst < 0 || o.BytesBurst > 0 && o.BytesBurst < least {
		f.Bad("BytesBurst", o.BytesBurst, fmt.Sprintf("numbers from %d, the longest frame and its length, and 0 for two seconds' worth", least))
	}
	f.NotNegative("FramesBurst", o.FramesBurst, "0 for two seconds' worth")
	if o.MaxFrame < 0 || o.MaxFrame > 0 && o.MaxFrame < 256 || o.MaxFrame > math.MaxInt32 {
		f.Bad("MaxFrame", o.MaxFrame, "numbers from 256 to 2147483647, and 0 for 256 KiB")
	}
	f.NotNegative("MaxBatch", o.MaxBatch, "0 for 100")
	f.Add(protocol.Options{Queue: o.Queue}.Validate())
	return f.Err()
}

func (o Options) maxFrame() int {
	if o.MaxFrame == 0 {
		return defaultMaxFrame
	}
	return o.MaxFrame
}

// pauseAt returns how many bytes wait for a client before its next request is not read: a client
// that does not read costs little more than its last response.
func (o Options) pauseAt() int {
	if o.Queue.MaxBytes > 0 && o.Queue.MaxBytes < 128<<10 {
		return 0 // the default of package protocol, which is less
	}
	return 8 << 10
}

func (o Options) withDefaults() Options {
	o.MaxFrame = o.maxFrame()
	option.Default(&o.BytesPerSecond, 1<<20)
	option.Default(&o.BytesBurst, max(2*min(o.BytesPerSecond, math.MaxInt/2), o.MaxFrame+prefix))
	option.Default(&o.FramesPerSecond, 200)
	option.Default(&o.FramesBurst, 2*min(o.FramesPerSecond, math.MaxInt/2))
	option.Default(&o.ReadTimeout, 5*time.Minute)
	option.Default(&o.Tick, time.Second)
	option.Default(&o.MaxBatch, 100)
	if o.OnTick == nil {
		o.Tick = 0
	}
	o.Tick, o.ReadTimeout = max(o.Tick, 0), max(o.ReadTimeout, 0) // 0 disables them in protocol.Options
	return o
}
