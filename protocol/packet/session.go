package packet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// Session is a connection, as methods and hooks see it. Its methods may be called from any
// goroutine, also when the connection has ended.
type Session struct {
	// State is the user's. It is for methods, hooks and what [Session.Run] runs, which are
	// never called at the same time; others have to come by Run.
	State any

	server *Server
	peer   *protocol.Peer
	began  time.Time
	last   atomic.Int64 // when the last frame came, after began
	frames atomic.Uint64
	bytes  atomic.Uint64
	limits limits
	atEnd  []func(error)
}

// Conn returns the connection, for its addresses, id, counters and TLS state.
func (s *Session) Conn() *transport.Conn { return s.peer.Conn() }

// Context returns the connection's context, which ends when the connection is to end.
func (s *Session) Context() context.Context { return s.peer.Context() }

// Age returns how long the connection lives already.
func (s *Session) Age() time.Duration { return time.Since(s.began) }

// Idle returns how long ago the last frame has come; within a call, the one before it. Before
// the first it is the age.
func (s *Session) Idle() time.Duration { return s.Age() - time.Duration(s.last.Load()) }

// Frames returns how many frames have come.
func (s *Session) Frames() uint64 { return s.frames.Load() }

// Bytes returns how many bytes have come in these, with their lengths.
func (s *Session) Bytes() uint64 { return s.bytes.Load() }

// Notify sends a notification to the client. It does not wait for it, unless that is the policy of
// Options.Queue. nil params are left out. The error is that of encoding/json, or one of
// [protocol.Peer.Send].
func (s *Session) Notify(method string, params any) error {
	b, err := notification(method, params)
	if err != nil {
		return err
	}
	return s.peer.Send(b)
}

// Run has f called in the connection's turn, one after the other with its frames and hooks. It does
// not wait for that. The error is [protocol.ErrMailboxFull] if 64 wait already, or
// [protocol.ErrEnded]; then f will not be called, nor if the connection ends before.
func (s *Session) Run(f func(s *Session)) error { return s.peer.Post(f) }

// Close ends the connection, after what was sent before. nil is an end in order; err is what OnEnd
// gets, and what the connection's reason is told by.
func (s *Session) Close(err error) { s.peer.Close(err) }

// AtEnd has f called when the connection has ended, before Options.OnEnd and before what was
// given to AtEnd earlier, exactly once. It is for methods, hooks and what Run runs.
func (s *Session) AtEnd(f func(err error)) { s.atEnd = append(s.atEnd, f) }

// handler serves one connection.
type handler struct {
	server  *Server
	session *Session
}

func (h *handler) HandleConnect(p *protocol.Peer) protocol.Action {
	s := &Session{server: h.server, peer: p, began: time.Now(), limits: newLimits(&h.server.opts)}
	h.session = s
	h.server.mu.Lock()
	h.server.sessions[s] = struct{}{}
	h.server.mu.Unlock()
	h.server.all.Join(s) // cannot fail: it is not ended before it has begun
	return hook(s, h.server.opts.OnConnect)
}

func hook(s *Session, f func(*Session) error) protocol.Action {
	if f != nil {
		if err := f(s); err != nil {
			return protocol.Fail(err)
		}
	}
	return protocol.Continue()
}

func (h *handler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	s, opts := h.session, &h.server.opts
	now := s.Age()
	defer s.last.Store(int64(now))
	if isTooLarge(frame) {
		return h.refuse(fmt.Errorf("%w: allowed are %d bytes", protocol.ErrFrameTooLarge, opts.MaxFrame))
	}
	s.frames.Add(1)
	s.bytes.Add(uint64(len(frame)) + 4)
	if err := s.limits.take(opts, now, len(frame)+4); err != nil {
		return h.refuse(err)
	}
	if answer := h.server.answer(s, frame); answer != nil {
		if err := p.Send(answer); errors.Is(err, protocol.ErrDropped) {
			return protocol.Fail(fmt.Errorf("%w: no room for an answer", protocol.ErrQueueFull))
		} else if err != nil {
			return protocol.Fail(err)
		}
	}
	return protocol.Continue()
}

// refuse tells the client why the connection ends.
func (h *handler) refuse(err error) protocol.Action {
	h.session.peer.Send(appendError(nil, null, &Error{Code: CodeLimit, Message: err.Error()})) // if it cannot be told, so be it
	return protocol.Fail(err)
}

func (h *handler) HandleMessage(_ *protocol.Peer, msg any) protocol.Action {
	msg.(func(*Session))(h.session)
	return protocol.Continue()
}

func (h *handler) HandleTick(*protocol.Peer) protocol.Action {
	return hook(h.session, h.server.opts.OnTick)
}

func (h *handler) HandleClose(_ *protocol.Peer, err error) {
	s := h.session
	h.server.mu.Lock()
	delete(h.server.sessions, s)
	h.server.mu.Unlock()
	if h.server.opts.OnEnd != nil {
		defer h.server.opts.OnEnd(s, err) // also if one of the others panics
	}
	for _, f := range s.atEnd {
		defer f(err)
	}
}
