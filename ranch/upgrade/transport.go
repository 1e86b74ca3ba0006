package upgrade

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"goranch/internal/engine"
	"goranch/transport"
)

// Transport returns t with a Listen whose sockets are handed over in an upgrade. ref is the name of
// the listener, by which the successor finds the sockets again: the same one with the same address.
// t must understand the address "fd:N", as the transports of this module do. Sockets that are no
// sockets of the system, such as those of transport.Mem, are not handed over.
//
// In a successor, Listen returns the socket that the predecessor has handed over for ref and addr,
// if there is one. None of the sockets accepts before Ready.
func (u *Upgrader) Transport(ref string, t transport.Transport) transport.Transport {
	w := &wrapped{Transport: t, u: u, ref: ref}
	if _, ok := t.(transport.PortSharer); ok {
		return sharing{w}
	}
	return w
}

type wrapped struct {
	transport.Transport
	u   *Upgrader
	ref string
}

// Unwrap implements [transport.Unwrapper].
func (w *wrapped) Unwrap() transport.Transport { return w.Transport }

// Validate returns the error of the Validate of the inner transport, if it has one.
func (w *wrapped) Validate() error {
	if v, ok := w.Transport.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// Adopted implements [engine.Adopter].
func (w *wrapped) Adopted(addr string) (bound string, ok bool) {
	return w.u.sockets.peek(w.ref, addr)
}

// Listen returns an adopted socket or opens one.
func (w *wrapped) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return w.listen(ctx, addr, false, w.Transport.Listen)
}

func (w *wrapped) listen(ctx context.Context, addr string, shared bool, open func(context.Context, string) (net.Listener, error)) (net.Listener, error) {
	s := &w.u.sockets
	requested := s.requested(w.ref, addr, shared)
	a := s.take(w.ref, requested)
	if a == nil {
		ln, err := open(ctx, addr)
		if err != nil {
			return nil, err
		}
		return w.u.track(describe(w.ref, requested, ln), addr, ln, nil), nil
	}
	ln, err := w.Transport.Listen(ctx, "fd:"+strconv.Itoa(a.fd))
	if err != nil {
		s.undoTake(a)
		return nil, fmt.Errorf("socket of the predecessor for listener %q, address %q: %w", w.ref, requested, err)
	}
	if !a.entry.Inherited { // the listener has a duplicate, and its Close must close the socket
		closeFD(a.fd)
	}
	return w.u.track(a.entry, addr, ln, a), nil
}

// sharing is a wrapped transport that can open several sockets on one port.
type sharing struct{ *wrapped }

// ListenShared implements [transport.PortSharer].
func (s sharing) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	return s.listen(ctx, addr, true, s.Transport.(transport.PortSharer).ListenShared)
}

// key is what a socket was opened for.
type key struct{ ref, addr string }

// adoptee is a socket of the predecessor.
type adoptee struct {
	index int // in the manifest
	entry socketEntry
	fd    int
	taken bool // there is a listener of it
	used  bool // there was one
}

// sockets are the sockets of the predecessor and of this process.
type sockets struct {
	mu       sync.Mutex
	adoptees []*adoptee
	open     []*listener    // in the order of their opening
	origins  map[key]string // the address that was requested first, by that of a later Listen
	probed   map[string]string
}

// requested returns the address that a Listen on addr was requested with originally. A listener
// that was opened on ":0" is opened again on the port that it had.
func (s *sockets) requested(ref, addr string, shared bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, ok := s.origins[key{ref, addr}]; ok {
		return first
	}
	if first, ok := s.probed[ref]; ok && shared { // the port for several sockets was chosen before the first
		s.setOrigin(ref, addr, first)
		delete(s.probed, ref)
		return first
	}
	return addr
}

// setOrigin records that a Listen on addr belongs to one that was requested with first. s.mu is
// held.
func (s *sockets) setOrigin(ref, addr, first string) {
	if s.origins == nil {
		s.origins = make(map[key]string)
	}
	s.origins[key{ref, addr}] = first
}

// peek returns the address of the socket that take would return.
func (s *sockets) peek(ref, addr string) (bound string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(ref, addr)
	if a == nil {
		if s.probed == nil {
			s.probed = make(map[string]string)
		}
		s.probed[ref] = addr
		return "", false
	}
	s.setOrigin(ref, a.entry.Bound, addr)
	return a.entry.Bound, true
}

// find returns a socket that can be taken, or nil. s.mu is held.
func (s *sockets) find(ref, addr string) *adoptee {
	for _, a := range s.adoptees {
		if a.entry.Ref == ref && a.entry.Addr == addr && !a.taken && (!a.used || a.entry.Inherited) {
			return a
		}
	}
	return nil
}

// take returns the first socket of the predecessor that was opened for ref and addr and has no
// listener; nil if there is none.
func (s *sockets) take(ref, addr string) *adoptee {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(ref, addr)
	if a != nil {
		a.taken, a.used = true, true
	}
	return a
}

// undoTake undoes take.
func (s *sockets) undoTake(a *adoptee) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.taken, a.used = false, false
}

// closeUnused closes the sockets that no listener has taken, and returns the indexes of those that
// have one.
func (s *sockets) closeUnused() (adopted []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adoptees = slices.DeleteFunc(s.adoptees, func(a *adoptee) bool {
		if a.taken {
			adopted = append(adopted, a.index)
		} else if !a.used {
			closeFD(a.fd)
		}
		return !a.used
	})
	return adopted
}

// track returns a listener of ln, which was opened by a Listen on addr, if it can be handed over.
func (u *Upgrader) track(entry socketEntry, addr string, ln net.Listener, a *adoptee) net.Listener {
	acc, ok := ln.(acceptor)
	if !ok {
		return ln
	}
	s := &u.sockets
	again := engine.Rebind(addr, ln.Addr())
	u.mu.Lock() // no Ready between the decision to block and the registration
	defer u.mu.Unlock()
	l := newListener(u, acc, entry, a, u.state == starting && u.predecessor != nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, l)
	if again != entry.Addr {
		s.setOrigin(entry.Ref, again, entry.Addr)
	}
	return l
}

// forget removes a listener that is closed.
func (u *Upgrader) forget(l *listener) {
	s := &u.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(o *listener) bool { return o == l })
	if l.adopted != nil {
		l.adopted.taken = false
	}
}

// listeners returns the open listeners.
func (s *sockets) listeners() []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open)
}

// Inherited returns the addresses that the predecessor has requested for the listener ref and for
// which no Listen has been called yet. A program that chooses an address by itself, for example
// when its default is in use, finds here the one that the predecessor has chosen.
func (u *Upgrader) Inherited(ref string) (addrs []string) {
	s := &u.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.adoptees {
		if a.entry.Ref == ref && !a.used {
			addrs = append(addrs, a.entry.Addr)
		}
	}
	return addrs
}
