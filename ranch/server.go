package ranch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// Server is a set of listeners by name. The zero value is ready to use; it must not be
// copied. The functions of this package act on [Default].
type Server struct {
	mu        sync.Mutex
	listeners map[string]*Listener // nil: the name is being started
}

// StartListener listens as opts say, and has each connection served by p. It returns
// when the listener accepts connections. The error is an [*Error] that wraps
// [ErrAlreadyStarted], [ErrBadOption] (every fault, joined), [ErrAddrInUse],
// [ErrPermission], [ErrNoCertificate], or what the system or PostListen said; then
// nothing stays behind.
func (s *Server) StartListener(ref string, t transport.Transport, opts Options, p protocol.Protocol) (*Listener, error) {
	l, err := NewListener(ref, t, opts, p)
	if err != nil {
		return nil, err
	}
	if err := s.claim(ref); err != nil {
		return nil, err
	}
	started := false
	defer func() {
		if !started { // it failed, or PostListen panicked
			s.put(ref, nil)
		}
	}()
	bound := func() { // protocols and observers may ask for the listener from its first moment
		started = true
		s.put(ref, l) // not later: whoever finds it may have stopped it by then
	}
	if err := l.start(context.Background(), bound); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Server) claim(ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.listeners[ref]; taken {
		return opErr("start", ref, ErrAlreadyStarted)
	}
	if s.listeners == nil {
		s.listeners = make(map[string]*Listener)
	}
	s.listeners[ref] = nil
	return nil
}

// put registers l under its name, or frees the name if l is nil.
func (s *Server) put(ref string, l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == nil {
		delete(s.listeners, ref)
	} else {
		s.listeners[ref] = l
	}
}

// Listener returns the listener of that name. While it is being started there is none.
func (s *Server) Listener(ref string) (*Listener, error) { return s.get("find", ref) }

func (s *Server) get(op, ref string) (*Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.listeners[ref]; l != nil {
		return l, nil
	}
	return nil, opErr(op, ref, ErrNotFound)
}

// Listeners returns the names of all listeners, sorted.
func (s *Server) Listeners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []string
	for ref, l := range s.listeners {
		if l != nil {
			refs = append(refs, ref)
		}
	}
	slices.Sort(refs)
	return refs
}

// StopListener stops a listener as [Listener.Stop] does, and frees its name. Of several
// calls at once one stops it; the others wait for that and get [ErrNotFound].
func (s *Server) StopListener(ref string) error {
	return s.stop(ref, (*Listener).Stop)
}

func (s *Server) stop(ref string, how func(*Listener) error) error {
	l, err := s.get("stop", ref)
	if err != nil {
		return err
	}
	err = how(l)
	if errors.Is(err, ErrStopped) {
		err = opErr("stop", ref, ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners[ref] == l { // not one started since
		delete(s.listeners, ref)
	}
	return err
}

// Drain stops listeners, all of them if no name is given, as [Listener.Drain] does,
// side by side. It returns when all are stopped, with every error joined. A listener that
// is being started meanwhile is not among them.
func (s *Server) Drain(ctx context.Context, refs ...string) error {
	all := len(refs) == 0
	if all {
		refs = s.Listeners()
	}
	errs := make([]error, len(refs))
	var wg sync.WaitGroup
	for i, ref := range refs {
		wg.Go(func() {
			errs[i] = s.stop(ref, func(l *Listener) error { return l.Drain(ctx) })
			if all && errors.Is(errs[i], ErrNotFound) {
				errs[i] = nil // somebody else stopped it meanwhile
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// SuspendListener stops accepting; see [Listener.Suspend].
func (s *Server) SuspendListener(ref string) error {
	return s.do("suspend", ref, (*Listener).Suspend)
}

// ResumeListener accepts again; see [Listener.Resume].
func (s *Server) ResumeListener(ref string) error {
	return s.do("resume", ref, (*Listener).Resume)
}

// SuspendAll stops accepting on every listener, and ResumeAll accepts again. Each is tried,
// whatever becomes of the others; the errors are joined.
func (s *Server) SuspendAll() error { return s.all(s.SuspendListener) }

// ResumeAll accepts again on every listener.
func (s *Server) ResumeAll() error { return s.all(s.ResumeListener) }

func (s *Server) all(f func(ref string) error) error {
	var errs []error
	for _, ref := range s.Listeners() {
		if err := f(ref); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrStopped) { // stopped meanwhile
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SetMaxConnections changes the cap; see [Listener.SetMaxConnections].
func (s *Server) SetMaxConnections(ref string, n int) error {
	return s.do("set", ref, func(l *Listener) error { return l.SetMaxConnections(n) })
}

// MaxConnections returns the cap.
func (s *Server) MaxConnections(ref string) (n int, err error) {
	err = s.do("get", ref, func(l *Listener) error { n = l.MaxConnections(); return nil })
	return n, err
}

// SetProtocol changes the protocol of connections accepted from now on.
func (s *Server) SetProtocol(ref string, p protocol.Protocol) error {
	return s.do("set", ref, func(l *Listener) error { return l.SetProtocol(p) })
}

// Protocol returns the protocol of connections accepted now.
func (s *Server) Protocol(ref string) (p protocol.Protocol, err error) {
	err = s.do("get", ref, func(l *Listener) error { p = l.Protocol(); return nil })
	return p, err
}

// SetTransportOptions changes transport and options; see [Listener.SetOptions].
func (s *Server) SetTransportOptions(ref string, t transport.Transport, opts Options) (waiting []string, err error) {
	err = s.do("set", ref, func(l *Listener) (err error) { waiting, err = l.SetOptions(t, opts); return err })
	return waiting, err
}

// TransportOptions returns the options; see [Listener.Options].
func (s *Server) TransportOptions(ref string) (opts Options, err error) {
	err = s.do("get", ref, func(l *Listener) error { opts = l.Options(); return nil })
	return opts, err
}

// WaitForConnections waits for a number of active connections; see
// [Listener.WaitForConnections].
func (s *Server) WaitForConnections(ctx context.Context, ref string, op Op, n int) error {
	return s.do("wait", ref, func(l *Listener) error { return l.WaitForConnections(ctx, op, n) })
}

// Connections returns the live connections of a listener, oldest first.
func (s *Server) Connections(ref string) (cs []conns.Info, err error) {
	err = s.do("get", ref, func(l *Listener) error { cs = l.Connections(); return nil })
	return cs, err
}

// Kill closes the connection with that id at once, whichever listener it belongs to.
func (s *Server) Kill(id uint64) error {
	for _, ref := range s.Listeners() {
		if l, err := s.get("kill", ref); err == nil && l.Kill(id) {
			return nil
		}
	}
	return opErr("kill", fmt.Sprintf("connection %d", id), ErrNotFound)
}

// Select returns live connections of a listener; see [Listener.Select].
func (s *Server) Select(ref string, q conns.Query) (page []conns.Info, total int, err error) {
	err = s.do("get", ref, func(l *Listener) error { page, total = l.Select(q); return nil })
	return page, total, err
}

// Ended returns the connections of a listener that have ended last, the latest first.
func (s *Server) Ended(ref string) (es []conns.Ended, err error) {
	err = s.do("get", ref, func(l *Listener) error { es = l.Ended(); return nil })
	return es, err
}

// Trace traces connections of the listeners named, all if none is; see [Listener.Trace].
func (s *Server) Trace(t conns.Trace, refs ...string) (stop func(), err error) {
	if len(refs) == 0 {
		refs = s.Listeners()
	}
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	for _, ref := range refs {
		if err := s.do("trace", ref, func(l *Listener) error { stops = append(stops, l.Trace(t)); return nil }); err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// Info returns what a listener is and has done.
func (s *Server) Info(ref string) (info ListenerInfo, err error) {
	err = s.do("get", ref, func(l *Listener) error { info = l.Info(); return nil })
	return info, err
}

// InfoAll returns what each listener is and has done, sorted by name.
func (s *Server) InfoAll() []ListenerInfo {
	var all []ListenerInfo
	for _, ref := range s.Listeners() {
		if info, err := s.Info(ref); err == nil {
			all = append(all, info)
		}
	}
	return all
}

func (s *Server) do(op, ref string, f func(*Listener) error) error {
	l, err := s.get(op, ref)
	if err != nil {
		return err
	}
	return f(l)
}
