package ranch

import (
	"slices"
	"sync"
	"sync/atomic"

	"goranch/conns"
	"goranch/transport"
)

// observers are functions that are called with events. They can be added and removed at any time.
// Calling them takes no lock.
type observers struct {
	mu  sync.Mutex
	all atomic.Pointer[[]*observer] // replaced as a whole; nil: none
}

type observer struct{ f func(Event) }

func (o *observers) add(f func(Event)) (stop func()) {
	added := &observer{f}
	o.change(func(all []*observer) []*observer { return append(all, added) })
	return func() {
		o.change(func(all []*observer) []*observer {
			return slices.DeleteFunc(all, func(other *observer) bool { return other == added })
		})
	}
}

func (o *observers) change(f func([]*observer) []*observer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*observer
	if old := o.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	if all = f(all); len(all) == 0 {
		o.all.Store(nil)
		return
	}
	o.all.Store(&all)
}

// Observe has f called with every event of the listener, after Options.Observer and in the same
// way, until stop is called. stop may be called again; it does not wait for calls in progress.
func (l *Listener) Observe(f func(Event)) (stop func()) { return l.attached.add(f) }

// Observe has f called with every event of all listeners of s, also of those that are started
// later, until stop is called; see [Listener.Observe].
func (s *Server) Observe(f func(Event)) (stop func()) { return s.attached.add(f) }

// connEvents are events to reuse. An event on the stack would make the stacks of connections grow;
// see report.
var connEvents = sync.Pool{New: func() any { return new(Event) }}

// connStarted returns the function that reports the start of a connection. It is a function
// literal, because a method value is called through one more stack frame.
func (l *Listener) connStarted() func(*transport.Conn) {
	return func(c *transport.Conn) {
		e := connEvents.Get().(*Event)
		e.Kind, e.Conn = ConnStarted, c
		l.emit(e)
		*e = Event{}
		connEvents.Put(e)
	}
}

// connEnded returns the function that reports the end of a connection.
func (l *Listener) connEnded() func(conns.ConnEnd) {
	return func(end conns.ConnEnd) {
		e := connEvents.Get().(*Event)
		e.Kind, e.Conn, e.Reason, e.Err, e.Served = ConnEnded, end.Conn, end.Reason, end.Err, end.Served
		e.Duration, e.Handshake = end.Duration, end.Handshake
		l.emit(e)
		*e = Event{}
		connEvents.Put(e)
	}
}

// emit reports an event to the logger and the observers.
func (l *Listener) emit(e *Event) {
	var to receivers
	for i := 0; l.report(i, e, &to); i++ {
	}
}

// receivers are the observers that get an event.
type receivers struct{ own, server *[]*observer } // nil: none

// report reports an event to the logger if i is 0, or else to the observer i-1, and returns false
// if there is none. The observer of the end is called at the greatest stack depth of most
// connections, so the functions up to it use little stack: emit is inlined, and only the observer
// gets a copy of the event.
func (l *Listener) report(i int, e *Event, to *receivers) (more bool) {
	more = true // also after a panic
	defer l.recovered(e)
	if i == 0 {
		if to.own = l.attached.all.Load(); l.server != nil {
			to.server = l.server.attached.all.Load()
		}
		e.Ref = l.ref
		logEvent(l.log, e)
		return true
	}
	o := l.nth(i-1, to)
	if o == nil {
		return false
	}
	o(*e)
	return true
}

// nth returns the observer i, nil if there is none.
func (l *Listener) nth(i int, to *receivers) func(Event) {
	if l.observer != nil {
		if i == 0 {
			return l.observer
		}
		i--
	}
	for _, all := range [...]*[]*observer{to.own, to.server} {
		if all == nil {
			continue
		}
		if i < len(*all) {
			return (*all)[i].f
		}
		i -= len(*all)
	}
	return nil
}
