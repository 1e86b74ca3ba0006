package conns

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"goranch/internal/engine"
	"goranch/internal/remoteip"
	"goranch/transport"
)

// Trace selects connections and a function to which each of their reads and writes is reported.
// Connections that are not selected cost nothing.
type Trace struct {
	// ID selects one connection; 0 selects all that Network allows.
	ID uint64
	// Network selects connections by remote address, with IPv4 written as such; the zero Prefix
	// selects all.
	Network netip.Prefix
	// Func is called in the goroutine that reads or writes, by several at once. nil traces
	// nothing.
	Func func(transport.TraceEvent)
}

func (t *Trace) matches(conn *transport.Conn) bool {
	if t.ID != 0 && t.ID != conn.ID() {
		return false
	}
	if !t.Network.IsValid() {
		return true
	}
	return t.Network.Contains(remoteip.Of(conn.RemoteAddr()))
}

// traces are the active traces.
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

// Trace traces the connections that t selects, live ones and those accepted later, until stop is
// called. stop may be called again; it does not wait for calls of Func in progress.
func (s *Supervisor) Trace(t Trace) (stop func()) {
	s.traces.change(func(on []*Trace) []*Trace { return append(on, &t) })
	s.each(s.applyTraces)
	return func() {
		s.traces.change(func(on []*Trace) []*Trace {
			return slices.DeleteFunc(on, func(o *Trace) bool { return o == &t })
		})
		s.each(func(c *connection) { s.setTracer(c) })
	}
}

// applyTraces applies the active traces to c. It is called after c was registered, and when the
// address of its client is known.
func (s *Supervisor) applyTraces(c *connection) {
	if s.traces.on.Load() != nil {
		s.setTracer(c)
	}
}

func (s *Supervisor) setTracer(c *connection) {
	s.traces.mu.Lock() // so that the last change is applied last
	defer s.traces.mu.Unlock()
	var chosen []func(transport.TraceEvent)
	if on := s.traces.on.Load(); on != nil {
		for _, t := range *on {
			if t.Func != nil && t.matches(&c.conn) {
				chosen = append(chosen, t.Func)
			}
		}
	}
	switch len(chosen) {
	case 0:
		engine.Of(&c.conn).SetTracer(nil)
	case 1:
		engine.Of(&c.conn).SetTracer(chosen[0])
	default:
		engine.Of(&c.conn).SetTracer(func(e transport.TraceEvent) {
			for _, f := range chosen {
				f(e)
			}
		})
	}
}
