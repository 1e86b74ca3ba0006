package packet

import (
	"fmt"
	"time"
)

// bucket holds what may still be spent. It fills with time, up to the burst, without a timer.
type bucket struct {
	left float64
	at   time.Duration // when left was right
}

// take spends n. rate is per second; 0 is no limit.
func (b *bucket) take(now time.Duration, n, rate, burst int) bool {
	if rate <= 0 {
		return true
	}
	b.left = min(b.left+(now-b.at).Seconds()*float64(rate), float64(burst))
	b.at = now
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}

// limits are those of one connection.
type limits struct{ bytes, frames bucket }

func newLimits(o *Options) limits {
	return limits{bytes: bucket{left: float64(o.BytesBurst)}, frames: bucket{left: float64(o.FramesBurst)}}
}

// take counts a frame; the error says which limit it exceeds.
func (l *limits) take(o *Options, now time.Duration, size int) error {
	if !l.frames.take(now, 1, o.FramesPerSecond, o.FramesBurst) {
		return fmt.Errorf("%w: allowed are %d frames per second, %d in a burst", ErrLimit, o.FramesPerSecond, o.FramesBurst)
	}
	if !l.bytes.take(now, size, o.BytesPerSecond, o.BytesBurst) {
		return fmt.Errorf("%w: allowed are %d bytes per second, %d in a burst", ErrLimit, o.BytesPerSecond, o.BytesBurst)
	}
	return nil
}
