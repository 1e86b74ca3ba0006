package ranch

import (
	"slices"
	"sync"
	"sync/atomic"
)

// observers are functions that are called with events, and can be added and removed at any time.
// Events take no lock.
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

// Observe has f called with every event of the listener, after Options.Observer and in the same way,
// until stop is called. stop may be called again; it does not wait for calls in progress.
func (l *Listener) Observe(f func(Event)) (stop func()) { return l.attached.add(f) }

// Observe has f called with every event of all listeners of s, also of those that are started later,
// until stop is called; see [Listener.Observe].
func (s *Server) Observe(f func(Event)) (stop func()) { return s.attached.add(f) }

// emit reports an event to the logger and the observers.
func (l *Listener) emit(e Event) {
	e.Ref = l.ref
	for _, o := range l.observers {
		l.observe(o, e)
	}
	if all := l.attached.all.Load(); all != nil {
		l.observeAll(*all, e)
	}
	if l.server == nil {
		return
	}
	if all := l.server.attached.all.Load(); all != nil {
		l.observeAll(*all, e)
	}
}

// observeAll is not inlined, so that a connection without such observers keeps its small stack.
//
//go:noinline
func (l *Listener) observeAll(all []*observer, e Event) {
	for _, o := range all {
		l.observe(o.f, e)
	}
}
