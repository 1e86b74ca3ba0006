package packet

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"goranch/protocol"
)

// errRate is wrapped by the error of a connection that exceeds a rate limit.
var errRate = fmt.Errorf("%w: rate limit exceeded", protocol.ErrBadInput)

// limits are the rate limiters of one connection. nil is no limit.
type limits struct{ frames, bytes *rate.Limiter }

func newLimits(o *Options) limits {
	return limits{
		frames: newLimiter(o.FramesPerSecond, o.FramesBurst),
		bytes:  newLimiter(o.BytesPerSecond, o.BytesBurst),
	}
}

func newLimiter(perSecond, burst int) *rate.Limiter {
	if perSecond < 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// allow counts a frame of size bytes. The error names the limit that it exceeds.
func (l *limits) allow(now time.Time, size int) error {
	if l.frames != nil && !l.frames.AllowN(now, 1) {
		return exceeded(l.frames, "frames")
	}
	if l.bytes != nil && !l.bytes.AllowN(now, size) {
		return exceeded(l.bytes, "bytes")
	}
	return nil
}

func exceeded(l *rate.Limiter, unit string) error {
	return fmt.Errorf("%w: allowed are %.0f %s per second, %d in a burst", errRate, float64(l.Limit()), unit, l.Burst())
}
