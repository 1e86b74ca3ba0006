package ranch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"goranch/internal/descriptors"
	"goranch/internal/option"
)

// Alarm reports that a threshold is reached. Exactly one of Connections and Descriptors must be
// set.
//
// An alarm is raised when the threshold is reached, and again after each Cooldown while it is still
// reached. Each time [AlarmRaised] is emitted, which is logged as a warning, and Callback is called
// in a goroutine of its own.
type Alarm struct {
	// Connections is a number of active connections. 0 is no threshold.
	Connections int
	// Descriptors is a fraction, up to 1, of the limit of open descriptors of the process, which
	// are counted once a second. 0 is no threshold. Where the system does not report them, such an
	// alarm is refused, and the error wraps errors.ErrUnsupported.
	Descriptors float64
	// Cooldown is the time between two reports. 0 is 5 s.
	Cooldown time.Duration
	// Callback is called after the event. It may stop its listener; panics are logged. nil is none.
	Callback func(AlarmEvent)
}

// AlarmEvent describes an alarm that was raised.
type AlarmEvent struct {
	Ref, Name   string
	Connections int // active connections
	// Descriptors and DescriptorLimit are the open and the allowed descriptors of the process, for
	// an alarm with such a threshold.
	Descriptors, DescriptorLimit int
	Listener                     *Listener
}

// check reports the faults of the alarm with that name.
func (a Alarm) check(name string, f *option.Faults) {
	field := fmt.Sprintf("Alarms[%q]", name)
	switch {
	case a.Connections < 0:
		f.Bad(field+".Connections", a.Connections, "positive numbers")
	case !(a.Descriptors >= 0 && a.Descriptors <= 1):
		f.Bad(field+".Descriptors", a.Descriptors, "fractions above 0 and up to 1")
	case (a.Connections > 0) == (a.Descriptors > 0):
		f.Bad(field, fmt.Sprintf("{Connections: %d, Descriptors: %g}", a.Connections, a.Descriptors),
			"alarms with exactly one of the two")
	case a.Descriptors > 0:
		if _, _, err := descriptors.Count(); err != nil {
			f.Add(fmt.Errorf("option %s.Descriptors %v: %w", field, a.Descriptors, err))
		}
	}
	f.Positive(field+".Cooldown", a.Cooldown, "0 for 5s")
}

// setAlarms replaces the alarms. l.optionsMu is held.
func (l *Listener) setAlarms(alarms map[string]Alarm) {
	if l.stopAlarms != nil {
		l.stopAlarms()
		l.stopAlarms = nil
	}
	if len(alarms) == 0 || l.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	l.stopAlarms = cancel
	for _, name := range slices.Sorted(maps.Keys(alarms)) {
		l.background.Go(func() { l.watchAlarm(ctx, name, alarms[name]) })
	}
}

// watchAlarm raises one alarm until ctx ends.
func (l *Listener) watchAlarm(ctx context.Context, name string, a Alarm) {
	option.Default(&a.Cooldown, 5*time.Second)
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
		l.emit(&Event{Kind: AlarmRaised, Alarm: &e})
		if a.Callback != nil {
			go l.call(a.Callback, e)
		}
		if !sleep(ctx, a.Cooldown) {
			return
		}
	}
}

func (l *Listener) call(callback func(AlarmEvent), e AlarmEvent) {
	defer l.recovered(&Event{Kind: AlarmRaised})
	callback(e)
}

// awaitDescriptors waits until that fraction of the descriptors is open, and reports whether ctx
// has not ended before.
func awaitDescriptors(ctx context.Context, fraction float64) (open, limit int, ok bool) {
	for {
		open, limit, err := descriptors.Count()
		if err == nil && float64(open) >= fraction*float64(limit) {
			return open, limit, true
		}
		if !sleep(ctx, time.Second) {
			return 0, 0, false
		}
	}
}
