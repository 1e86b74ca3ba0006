// Package session provides state that outlives a connection. A client that lost its connection
// presents the id of its session over another connection and continues where it was.
//
//	sessions, err := session.New(session.Options[State]{TTL: time.Hour})
//	…
//	s, err := sessions.Create(ctx, conn.RemoteAddr(), holder, State{Dir: "/"}) // new client
//	s, err := sessions.Attach(ctx, id, conn.RemoteAddr(), holder)              // returning client
//	…
//	s.Do(func(st *State) { st.Dir = dir }) // changes the state
//	s.Output(answer)                       // sends output to the client
//	…
//	s.Detach() // the connection has closed; or s.End() to remove the session
//
// A session is attached to at most one connection, its [Holder]. When the connection closes, the
// session stays for [Options].TTL. A connection that presents the id takes the session over, and
// the [Session] of the previous connection becomes stale at the same instant. The id is a secret
// like a password: keep it out of logs and unencrypted networks.
//
// Output of a detached session is kept up to [Options].MaxOutput bytes and delivered to the next
// holder. Each piece is delivered to exactly one holder, in order; a piece that a holder has
// accepted and the network then loses is lost.
//
// With a [Store], such as the one of package boltstore, sessions survive a restart. Create returns
// after the session is saved; changes are saved within 100 ms, many sessions per Save. If the Store
// fails, Create and [Session.Sync] return its error; everything else continues in memory and is
// saved once the Store works again. Kept output is not stored.
//
// With a [NodeStore], such as the one of package natsstore, a client can resume its session at any
// of several nodes; docs/cluster.md describes it.
//
// One goroutine saves while there are changes to save, and one removes expired sessions while there
// are detached sessions. With a [NodeStore], a third one prolongs the records of attached sessions.
// [Manager.Close] ends them.
package session

import (
	"context"
	"errors"
)

var (
	// ErrUnknown is the error for every id that names no session: never issued, expired, ended or
	// malformed. It does not reveal which.
	ErrUnknown = errors.New("unknown or expired session")
	// ErrTooMany is wrapped by the error of Create when there are Options.Max sessions, and by the
	// error of Attach for an address that has presented too many unknown ids.
	ErrTooMany = errors.New("too many")
	// ErrStale is returned to a connection whose session is attached to another connection.
	ErrStale = errors.New("the session was taken over")
	// ErrUnavailable is wrapped by the errors of Attach and End if the session is not known to this
	// node and the [NodeStore] cannot be asked: the client can try again with the same id.
	ErrUnavailable = errors.New("sessions of other nodes are not available now")
	// ErrStateTooLarge is wrapped by the errors of Create and Sync if the stored form of the state
	// exceeds the limit of a [NodeStore].
	ErrStateTooLarge = errors.New("the state of the session is too large")
	// ErrClosed is returned by all operations after Manager.Close.
	ErrClosed = errors.New("the session manager is closed")
)

// Session is a handle on a session. The handle that Create or Attach returns is bound to its
// connection: after Detach, or when another connection attaches, its methods return ErrStale. They
// return ErrUnknown after the session has ended, and ErrClosed after Manager.Close. After another
// process or node has taken the session over, all handles return ErrStale.
//
// The methods of Session are safe for concurrent use.
type Session[T any] struct {
	e   *entry[T]
	gen uint64 // the attachment that the handle is bound to; 0: unbound
}

// ID returns the session's id, with which any client can resume it.
func (s *Session[T]) ID() string { return s.e.id }

// Unbound returns the handle for work that outlives a connection, such as a running command. Its
// methods work whichever connection is attached, or none. It is the same for all handles of one
// session.
func (s *Session[T]) Unbound() *Session[T] { return &s.e.unbound }

// Do calls f with the session's state and saves the state within 100 ms. The session is locked
// during the call: f must neither use the session nor retain the pointer.
func (s *Session[T]) Do(f func(state *T)) error { return s.e.do(f, s.gen, true) }

// View is like Do but saves nothing. On an unbound handle it also works after the session has
// ended or was taken over by another process or node.
func (s *Session[T]) View(f func(state *T)) error { return s.e.do(f, s.gen, false) }

// Output delivers b to the attached connection. If there is none, it keeps a copy for the next
// connection, dropping the oldest pieces beyond Options.MaxOutput bytes. It does not retain b.
func (s *Session[T]) Output(b []byte) error { return s.e.output(b, s.gen) }

// Sync returns when every change so far is in the Store. The error is that of the handle, of the
// Store, of Marshal, or the cause of ctx; a change that could not be saved is retried in any case.
func (s *Session[T]) Sync(ctx context.Context) error {
	e := s.e
	e.mu.Lock()
	err := e.checkLease(s.gen)
	clean := !e.dirty && !e.saving && !e.refused && !e.marshalFailed
	if err == nil && !clean {
		e.m.markDirty(e)
	}
	e.mu.Unlock()
	if err != nil || clean {
		return err
	}
	if err := e.m.waitSaved(ctx, e); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == released { // the save that has given the session up may have come too late
		return ErrStale
	}
	return nil
}

// Detach releases the session: another connection can resume it until its TTL has passed, or until
// it is evicted. Saving starts at once, but Detach does not wait for it. On an unbound handle it
// returns ErrStale.
func (s *Session[T]) Detach() error {
	e := s.e
	e.mu.Lock()
	err := e.checkLease(s.gen)
	if err == nil && s.gen == 0 {
		err = ErrStale
	}
	if err != nil {
		e.mu.Unlock()
		return err
	}
	e.clearHolder()
	e.m.detached.push(e)
	e.m.markDirty(e)
	e.mu.Unlock()
	e.m.requestFlush() // a client that returns after a crash finds what it did before it left
	e.m.enforceLimits(e)
	return nil
}

// End ends the session; it is removed from the Store within 100 ms. An unbound handle also revokes
// the session from the attached connection, as [Manager.End] does.
func (s *Session[T]) End() error { return s.e.m.end(s.e, s.gen) }
