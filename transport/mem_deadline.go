package transport

import (
	"sync"
	"time"
)

// memDeadline is a time from which on waits for a cond fail. It is guarded by cond.L. The timer is
// created by the first deadline in the future and then reused, so that a deadline for each message
// does not allocate. half is the direction whose reads the deadline limits, nil for others.
type memDeadline struct {
	timer   *time.Timer
	stale   uint32 // pending calls of fire for a deadline that was replaced
	armed   bool   // the timer runs, or its call of fire is pending
	expired bool
}

func (d *memDeadline) set(t time.Time, cond *sync.Cond, half *memHalf) {
	d.disarm()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	switch {
	case wait <= 0:
		d.expired = true
		half.notify()
		cond.Broadcast()
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() { d.fire(cond, half) })
	default:
		d.timer.Reset(wait)
	}
	d.armed = true
}

func (d *memDeadline) fire(cond *sync.Cond, half *memHalf) {
	cond.L.Lock()
	if d.stale > 0 {
		d.stale--
	} else {
		d.armed, d.expired = false, true
		half.notify()
	}
	cond.L.Unlock()
	cond.Broadcast()
}

func (d *memDeadline) disarm() {
	if d.armed && !d.timer.Stop() {
		d.stale++
	}
	d.armed = false
}

// stop disarms the deadline and drops the timer.
func (d *memDeadline) stop() {
	d.disarm()
	d.timer = nil
}
