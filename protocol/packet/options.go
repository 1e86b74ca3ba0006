package packet

import (
	"errors"
	"fmt"
	"math"
	"time"

	"goranch/protocol"
)

// Defaults of [Options].
const (
	DefaultBytesPerSecond  = 1 << 20
	DefaultFramesPerSecond = 200
	DefaultReadTimeout     = 5 * time.Minute
	DefaultTick            = time.Second
	DefaultMaxBatch        = 100
)

// Options are the settings of a [Server]. The zero value of each field is its default.
type Options struct {
	// OnConnect is called first. Its error, if there is one, ends the connection.
	OnConnect func(s *Session) error
	// OnTick is called every Tick. Its error, if there is one, ends the connection.
	OnTick func(s *Session) error
	// OnEnd is called last, exactly once for each connection for which OnConnect was called, whatever
	// has ended it; err is as for [protocol.Closer]. It is the place to save what is to outlast the
	// connection. The connection's place under the listener's cap is free only when it returns.
	OnEnd func(s *Session, err error)
	// OnError is called with the errors of methods of which the client does not learn the text.
	OnError func(call *Call, err error)

	// BytesPerSecond is how much a client may send, with the lengths of frames. 0 is 1 MiB;
	// negative is no limit. BytesBurst is how much of it at once, 0 being what comes in two
	// seconds, at least one frame of MaxFrame; otherwise less than that and negative values are refused.
	BytesPerSecond, BytesBurst int
	// FramesPerSecond is how many frames a client may send; a batch is one. 0 is 200; negative is no
	// limit. FramesBurst is how many at once, 0 being what comes in two seconds; negative values are refused.
	FramesPerSecond, FramesBurst int
	// ReadTimeout ends a connection of which no frame has come for so long, with an error that
	// is os.ErrDeadlineExceeded. 0 is 5 min; negative is no limit.
	ReadTimeout time.Duration
	// Tick is the time between two calls of OnTick. 0 is 1 s; negative is never.
	Tick time.Duration
	// MaxFrame is the longest frame in bytes, in both directions, without its length. 0 is
	// 256 KiB; negative values and those below 256 are refused.
	MaxFrame int
	// MaxBatch is how many requests a batch may have. 0 is 100; negative values are refused.
	MaxBatch int
	// AllowUnknownFields lets params have fields that the method does not know.
	AllowUnknownFields bool
	// ExposeErrors sends the text of errors that are no [*Error] to the client, as data.
	ExposeErrors bool
	// Queue is what becomes of messages that the client does not take. The default is to end
	// the connection when 1 MiB waits. An answer for which there is no room always ends it.
	Queue protocol.QueueOptions
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option %s %v: allowed %s", field, value, allowed))
	}
	if o.BytesBurst < 0 || o.BytesBurst > 0 && o.BytesBurst < o.frame()+4 {
		bad("BytesBurst", o.BytesBurst, fmt.Sprintf("are numbers from %d, the longest frame and its length, and 0 for two seconds' worth", o.frame()+4))
	}
	if o.FramesBurst < 0 {
		bad("FramesBurst", o.FramesBurst, "are positive numbers, and 0 for two seconds' worth")
	}
	if o.MaxFrame < 0 || o.MaxFrame > 0 && o.MaxFrame < 256 || o.MaxFrame > math.MaxInt32 {
		bad("MaxFrame", o.MaxFrame, "are numbers from 256 to 2147483647, and 0 for 256 KiB")
	}
	if o.MaxBatch < 0 {
		bad("MaxBatch", o.MaxBatch, "are positive numbers, and 0 for 100")
	}
	return errors.Join(append(faults, o.Queue.Validate())...)
}

func (o Options) frame() int {
	if o.MaxFrame == 0 {
		return MaxFrame
	}
	return o.MaxFrame
}

func (o Options) withDefaults() Options {
	o.MaxFrame = o.frame()
	def(&o.BytesPerSecond, DefaultBytesPerSecond)
	def(&o.BytesBurst, max(2*min(o.BytesPerSecond, math.MaxInt/2), o.MaxFrame+4))
	def(&o.FramesPerSecond, DefaultFramesPerSecond)
	def(&o.FramesBurst, 2*min(o.FramesPerSecond, math.MaxInt/2))
	def(&o.ReadTimeout, DefaultReadTimeout)
	def(&o.Tick, DefaultTick)
	def(&o.MaxBatch, DefaultMaxBatch)
	if o.OnTick == nil {
		o.Tick = 0
	}
	o.Tick, o.ReadTimeout = max(o.Tick, 0), max(o.ReadTimeout, 0) // protocol's word for never
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
