package ranch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"goranch/protocol"
	"goranch/transport"
)

// Server is a set of listeners by name. A name is free again when its listener has stopped. The
// zero value is ready to use and must not be copied. Its methods may be called from any goroutine.
type Server struct {
	mu        sync.Mutex
	listeners map[string]*Listener // nil: the listener is being started
	attached  observers            // see Observe
}

// StartListener starts a listener that accepts connections of t and calls p for each. It returns
// when the sockets are open. On an error nothing was started; the error names the listener and
// wraps [ErrAlreadyStarted], [ErrBadOption] (all faults, joined), or the error of the transport,
// such as syscall.EADDRINUSE, fs.ErrPermission or transport.ErrNoCertificate, or of PostListen.
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
		if !started { // start failed, or PostListen panicked
			s.free(ref, nil)
		}
	}()
	l.onStop, l.server = func() { s.free(ref, l) }, s
	bound := func() { // before the first event and connection, whose handlers may look up the listener
		started = true
		s.mu.Lock()
		s.listeners[ref] = l
		s.mu.Unlock()
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

// free frees the name of l, unless another listener has it.
func (s *Server) free(ref string, l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners[ref] == l {
		delete(s.listeners, ref)
	}
}

// Listener returns the listener with that name, or [ErrNotFound]. A listener that is being started
// is not found yet.
func (s *Server) Listener(ref string) (*Listener, error) { return s.find("find", ref) }

func (s *Server) find(op, ref string) (*Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.listeners[ref]; l != nil {
		return l, nil
	}
	return nil, opErr(op, ref, ErrNotFound)
}

func (s *Server) do(op, ref string, f func(*Listener) error) error {
	l, err := s.find(op, ref)
	if err != nil {
		return err
	}
	return f(l)
}

// Listeners returns all listeners, sorted by name.
func (s *Server) Listeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Listener
	for _, l := range s.listeners {
		if l != nil {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *Listener) int { return cmp.Compare(a.ref, b.ref) })
	return all
}

// Drain drains the named listeners concurrently, or all if none is named; see [Listener.Drain]. It
// returns when they have stopped, with all errors joined. Listeners that are being started are
// not drained.
func (s *Server) Drain(ctx context.Context, refs ...string) error {
	var drained []*Listener
	var errs []error
	for _, ref := range refs {
		l, err := s.find("stop", ref)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		drained = append(drained, l)
	}
	all := len(refs) == 0
	if all {
		drained = s.Listeners()
	}
	results := make([]error, len(drained))
	var wg sync.WaitGroup
	for i, l := range drained {
		wg.Go(func() {
			results[i] = notFoundIfStopped(l.Drain(ctx))
			if all && errors.Is(results[i], ErrNotFound) {
				results[i] = nil // stopped by another call in the meantime
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, results...)...)
}
