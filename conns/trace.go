package conns

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"goranch/transport"
)

// Trace chooses connections of which every read and write is told to Func. It costs those
// that are not chosen nothing.
type Trace struct {
	// ID chooses one connection; 0 chooses all that the rest allows.
	ID uint64
	// Network chooses connections by the peer's address, IPv4 as such; the zero Prefix
	// chooses any.
	Network netip.Prefix
	// Func gets what happens, in the goroutine that reads or writes; several may call it
	// at once. nil traces nothing.
	Func transport.Tracer
}

func (t *Trace) matches(conn *transport.Conn) bool {
	if t.ID != 0 && t.ID != conn.ID() {
		return false
	}
	if !t.Network.IsValid() {
		return true
	}
	return t.Network.Contains(ipOf(conn.RemoteAddr()))
}

// traces are those that are on.
type traces struct {
	mu sync.Mutex
	on atomic.Pointer[[]*Trace] // replaced as a whole; nil: none
}

func (t *traces) change(f func([]*Trace) []*Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var on []*Trace
	if old := t.on.Load(); old != nil {
		on = slices.Clone(*old)
	}
	if on = f(on); len(on) == 0 {
		t.on.Store(nil)
		return
	}
	t.on.Store(&on)
}

// Trace begins to trace the connections that t chooses, those that live and those that come,
// until stop is called. stop may be called again, and does not wait for calls of Func in
// progress.
func (s *Supervisor) Trace(t Trace) (stop func()) {
	s.traces.change(func(on []*Trace) []*Trace { return append(on, &t) })
	s.each(s.retrace)
	return func() {
		s.traces.change(func(on []*Trace) []*Trace {
			return slices.DeleteFunc(on, func(o *Trace) bool { return o == &t })
		})
		s.each(func(c *connection) { s.settrace(c) })
	}
}

// retrace is called when a connection comes, and when its peer's address is known.
func (s *Supervisor) retrace(c *connection) {
	if s.traces.on.Load() != nil {
		s.settrace(c)
	}
}

func (s *Supervisor) settrace(c *connection) {
	s.traces.mu.Lock() // so that the last to set it has seen the last change
	defer s.traces.mu.Unlock()
	var chosen []transport.Tracer
	if on := s.traces.on.Load(); on != nil {
		for _, t := range *on {
			if t.Func != nil && t.matches(&c.conn) {
				chosen = append(chosen, t.Func)
			}
		}
	}
	switch len(chosen) {
	case 0:
		c.conn.SetTracer(nil)
	case 1:
		c.conn.SetTracer(chosen[0])
	default:
		c.conn.SetTracer(func(e transport.TraceEvent) {
			for _, f := range chosen {
				f(e)
			}
		})
	}
}
