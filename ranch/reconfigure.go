package ranch

import (
	"errors"
	"maps"
	"slices"

	"goranch/transport"
)

// Options returns the options in force or waiting for a resume, with their defaults. Its
// MaxConnections is that of the last start or [Listener.SetOptions]; Info has the current cap.
func (l *Listener) Options() Options {
	l.mu.Lock()
	defer l.mu.Unlock()
	opts := l.opts
	opts.Alarms = maps.Clone(opts.Alarms)
	return opts
}

// SetOptions replaces the options and, unless t is nil, the transport. The transport, Addr,
// NumAcceptors, NumListenSockets and PostListen apply after the next resume: waiting names those
// that differ. Logger, Observer, KeepClosed and Shared stay. All others apply at once, also to live
// connections. If an option is bad, the error joins all faults and nothing is changed.
func (l *Listener) SetOptions(t transport.Transport, opts Options) (waiting []string, err error) {
	opts = opts.withDefaults()
	l.optionsMu.Lock()
	defer l.optionsMu.Unlock()
	if waiting, err = l.setOptions(t, opts); err != nil {
		return nil, err
	}
	return waiting, l.SetMaxConnections(opts.MaxConnections)
}

// ChangeOptions calls change with the current options and sets the result; see
// [Listener.SetOptions]. No other change happens in between. MaxConnections is not changed. change
// must not call methods that change, start or stop the listener.
func (l *Listener) ChangeOptions(change func(*Options)) (waiting []string, err error) {
	l.optionsMu.Lock()
	defer l.optionsMu.Unlock()
	opts := l.Options()
	limit := opts.MaxConnections
	change(&opts)
	opts.MaxConnections = limit
	return l.setOptions(nil, opts.withDefaults())
}

// setOptions sets all options but the cap. l.optionsMu is held.
func (l *Listener) setOptions(t transport.Transport, opts Options) (waiting []string, err error) {
	l.mu.Lock()
	old, oldT := l.opts, l.transport
	l.mu.Unlock()
	if t == nil {
		t = oldT
	} else {
		waiting = append(waiting, "transport")
	}
	if err := errors.Join(opts.validate(), checkTransport(t, opts.Addr)); err != nil {
		return nil, opErr("set", l.ref, err)
	}
	waiting = append(waiting, old.waiting(opts)...)
	opts.Logger, opts.Observer, opts.KeepClosed, opts.Shared = old.Logger, old.Observer, old.KeepClosed, old.Shared
	l.mu.Lock()
	l.opts, l.transport = opts, t
	l.mu.Unlock()
	l.sup.Set(opts.settings())
	l.acceptLimited.Store(opts.AcceptRate.PerSecond > 0)
	l.setRefuseAfter(opts.RefuseAfter)
	if l.Status() != Starting { // else start sets them
		l.setAlarms(opts.Alarms)
	}
	return waiting, nil
}

// waiting names the fields that differ and apply after the next resume.
func (o Options) waiting(next Options) []string {
	var names []string
	if o.Addr != next.Addr {
		names = append(names, "Addr")
	}
	if o.NumAcceptors != next.NumAcceptors {
		names = append(names, "NumAcceptors")
	}
	if o.NumListenSockets != next.NumListenSockets {
		names = append(names, "NumListenSockets")
	}
	if (o.PostListen == nil) != (next.PostListen == nil) || next.PostListen != nil {
		names = append(names, "PostListen")
	}
	return slices.Clip(names)
}
