package ranch

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"goranch/conns"
)

// DefaultAlarmCooldown is the time between two calls of an [Alarm].
const DefaultAlarmCooldown = 5 * time.Second

// Alarm tells when something runs short. Exactly one of Connections and Descriptors is set.
//
// It goes off when the threshold is reached, and again after each Cooldown while it is
// still reached. Each time the event [AlarmRaised] is emitted, which is logged as a warning,
// and Callback is called in a goroutine of its own.
type Alarm struct {
	// Connections is the number of active connections from which on it goes off.
	Connections int
	// Descriptors is the share of the process' limit of open descriptors from which on it
	// goes off, above 0 and up to 1. They are counted once a second. Where the system cannot tell,
	// a start with such an alarm fails with errors.ErrUnsupported.
	Descriptors float64
	// Cooldown is the time between two calls. 0 is 5 s; negative values are refused.
	Cooldown time.Duration
	// Callback is called besides the event. nil is fine. It may stop its own listener.
	Callback func(AlarmEvent)
}

// AlarmEvent is an alarm that has gone off.
type AlarmEvent struct {
	Ref, Name   string
	Connections int // active ones
	// Descriptors and DescriptorLimit are those of the process, if the alarm is about them.
	Descriptors, DescriptorLimit int
	// Listener is the one that the alarm belongs to; its Connections are who to look at.
	Listener *Listener
}

// check reports what is wrong with the alarm of that name.
func (a Alarm) check(name string, bad func(field string, value any, allowed string)) {
	field := fmt.Sprintf("Alarms[%q]", name)
	switch {
	case a.Connections < 0:
		bad(field+".Connections", a.Connections, "are positive numbers")
	case !(a.Descriptors >= 0 && a.Descriptors <= 1):
		bad(field+".Descriptors", a.Descriptors, "are shares above 0 and up to 1")
	case (a.Connections > 0) == (a.Descriptors > 0):
		bad(field, fmt.Sprintf("{Connections: %d, Descriptors: %g}", a.Connections, a.Descriptors), "is exactly one of the two")
	case a.Descriptors > 0:
		if _, _, err := openDescriptors(); err != nil {
			bad(field+".Descriptors", a.Descriptors, fmt.Sprintf("is none here: %v", err))
		}
	}
	if a.Cooldown < 0 {
		bad(field+".Cooldown", a.Cooldown, fmt.Sprintf("are positive times, and 0 for %v", DefaultAlarmCooldown))
	}
}

// setAlarms replaces the alarms that look at the listener. l.setting is held.
func (l *Listener) setAlarms(alarms map[string]Alarm) {
	if l.calm != nil {
		l.calm()
		l.calm = nil
	}
	if len(alarms) == 0 || l.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(l.life)
	l.calm = cancel
	for _, name := range slices.Sorted(maps.Keys(alarms)) {
		l.held.Go(func() { l.watchAlarm(ctx, name, alarms[name]) })
	}
}

// watchAlarm raises one alarm as often as it is due.
func (l *Listener) watchAlarm(ctx context.Context, name string, a Alarm) {
	def(&a.Cooldown, DefaultAlarmCooldown)
	for {
		e := AlarmEvent{Ref: l.ref, Name: name, Listener: l}
		if a.Connections > 0 {
			if l.gate.Wait(ctx, func(n int) bool { return n >= a.Connections }) != nil || ctx.Err() != nil {
				return
			}
		} else {
			var ok bool
			if e.Descriptors, e.DescriptorLimit, ok = awaitDescriptors(ctx, a.Descriptors); !ok {
				return
			}
		}
		e.Connections = l.gate.State().Used
		l.emit(Event{Kind: AlarmRaised, Alarm: &e})
		if a.Callback != nil {
			go l.call(a.Callback, e)
		}
		if !sleep(ctx, a.Cooldown) {
			return
		}
	}
}

func (l *Listener) call(callback func(AlarmEvent), e AlarmEvent) {
	defer func() {
		if v := recover(); v != nil {
			l.complain(Event{Kind: AlarmRaised}, v, debug.Stack())
		}
	}()
	callback(e)
}

// Descriptors returns how many descriptors the process has open, and how many it may. The error is
// [errors.ErrUnsupported] where the system cannot tell.
func Descriptors() (open, limit int, err error) { return openDescriptors() }

// awaitDescriptors returns when that share of the descriptors is open.
func awaitDescriptors(ctx context.Context, share float64) (open, limit int, ok bool) {
	for {
		open, limit, err := openDescriptors()
		if err == nil && float64(open) >= share*float64(limit) {
			return open, limit, true
		}
		if !sleep(ctx, time.Second) {
			return 0, 0, false
		}
	}
}

// sleep waits, and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Evict has n connections make room, whatever the cap: they are told to end, and closed
// after the ShutdownTimeout. It returns how many there were.
func (l *Listener) Evict(n int, who conns.Victims) int { return l.sup.Evict(n, who) }
