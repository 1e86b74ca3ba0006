package packet

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"goranch/protocol"
	"goranch/transport"
)

// Server is a protocol that serves JSON-RPC. Its methods may be called from any goroutine. It
// has no goroutine of its own, and may serve several listeners.
type Server struct {
	opts     Options
	codec    codec
	protocol protocol.Protocol
	methods  sync.Map // of method, by name
	all      *Group

	mu       sync.Mutex
	sessions map[*Session]struct{}
}

// NewServer returns a server without methods. The error joins all faults of the options.
func NewServer(opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts.withDefaults(), sessions: make(map[*Session]struct{})}
	s.codec = codec{protocol.LengthPrefix{Size: 4, Max: s.opts.MaxFrame}}
	s.all = s.NewGroup()
	s.protocol = protocol.Handle(func() protocol.Handler { return &handler{server: s} }, protocol.Options{
		Codec: s.codec, Tick: s.opts.Tick, ReadTimeout: s.opts.ReadTimeout, Queue: s.opts.Queue,
	})
	return s, nil
}

// Serve runs one connection.
func (s *Server) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap makes s a [protocol.Unwrapper]: its idle connections are parked.
func (s *Server) Unwrap() protocol.Protocol { return s.protocol }

// Count returns how many connections there are.
func (s *Server) Count() int { return s.all.Count() }

// Sessions returns all connections, in no order.
func (s *Server) Sessions() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Session, 0, len(s.sessions))
	for one := range s.sessions {
		all = append(all, one)
	}
	return all
}

// Broadcast sends a notification to all connections, as [Group.Notify] does.
func (s *Server) Broadcast(method string, params any) (n int, err error) {
	return s.all.Notify(method, params)
}

// answer serves a frame. nil is no answer.
func (s *Server) answer(session *Session, frame []byte) []byte {
	requests, batch, fault := parse(frame, s.opts.MaxBatch)
	if fault != nil {
		return appendError(nil, null, fault)
	}
	if !batch {
		return s.one(nil, session, &requests[0])
	}
	var all []byte
	for i := range requests {
		before := len(all)
		all = s.one(append(all, ','), session, &requests[i])
		if len(all) == before+1 {
			all = all[:before] // a notification
		} else if len(all)+1 > s.opts.MaxFrame {
			all = appendError(append(all[:before], ','), requests[i].id, errTooLong)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if len(all)+1 > s.opts.MaxFrame { // even without results, as ids may be long
		return appendError(nil, null, errTooLong)
	}
	all[0] = '['
	return append(all, ']')
}

var errTooLong = fault(CodeInternal, "the answer does not fit in a frame")

// one serves a request, and appends the answer if there is one.
func (s *Server) one(dst []byte, session *Session, r *request) []byte {
	if r.fault != nil {
		return appendError(dst, r.id, r.fault)
	}
	result, err := s.call(session, r)
	if r.id == nil {
		return dst
	}
	if err == nil {
		var b []byte
		if b, err = marshal(result); err == nil {
			before := len(dst)
			if dst = appendResult(dst, r.id, b); len(dst)-before <= s.opts.MaxFrame {
				return dst
			}
			return s.fits(appendError(dst[:before], r.id, errTooLong), before)
		}
		err = s.internal(&Call{Context: session.Context(), Session: session, Method: r.method, ID: r.id}, err)
	}
	before := len(dst)
	return s.fits(appendError(dst, r.id, err.(*Error)), before)
}

// fits leaves the id out if even an error with it does not fit in a frame.
func (s *Server) fits(dst []byte, before int) []byte {
	if len(dst)-before <= s.opts.MaxFrame {
		return dst
	}
	return appendError(dst[:before], null, errTooLong)
}

// call calls the method. The error is an *Error.
func (s *Server) call(session *Session, r *request) (any, error) {
	m, ok := s.methods.Load(r.method)
	if !ok {
		return nil, fault(CodeMethodNotFound, "")
	}
	call := &Call{Context: session.Context(), Session: session, Method: r.method, ID: r.id}
	result, err := m.(method)(call, r.params)
	if err == nil {
		return result, nil
	}
	var e *Error
	if errors.As(err, &e) {
		return nil, e
	}
	return nil, s.internal(call, err)
}

// internal is what a client gets to know of an error.
func (s *Server) internal(call *Call, err error) error {
	if s.opts.OnError != nil {
		s.opts.OnError(call, err)
	}
	if s.opts.ExposeErrors {
		return fault(CodeInternal, err.Error())
	}
	return fault(CodeInternal, "")
}

// Group is a set of connections that get the same notifications: a room, a channel, a team. It is
// a [protocol.Group], and what is said of order and slow members there holds here. A connection leaves
// its groups when it ends, before hooks are told.
type Group struct {
	*protocol.Group
	codec codec
}

// NewGroup returns a group without members.
func (s *Server) NewGroup() *Group { return &Group{protocol.NewGroup(s.codec), s.codec} }

// Join makes s a member; joining again does nothing. The error is [protocol.ErrEnded].
func (g *Group) Join(s *Session) error { return g.Group.Join(s.peer) }

// Leave ends the membership of s. The error is [protocol.ErrNotMember].
func (g *Group) Leave(s *Session) error { return g.Group.Leave(s.peer) }

// Has reports whether s is a member.
func (g *Group) Has(s *Session) bool { return g.Group.Has(s.peer) }

// Notify sends a notification to all members, encoded once, and returns to how many it is under
// way. It waits for none of them. nil params are left out. The error is that of encoding/json, or
// [protocol.ErrFrameTooLarge].
func (g *Group) Notify(method string, params any) (n int, err error) {
	return g.NotifyExcept(nil, method, params)
}

// NotifyExcept is Notify to all members but s; nil is nobody.
func (g *Group) NotifyExcept(s *Session, method string, params any) (n int, err error) {
	b, err := notification(method, params)
	if err != nil {
		return 0, err
	}
	if s == nil {
		return g.Group.Broadcast(b)
	}
	return g.BroadcastExcept(b, s.peer)
}

// Raw are params or a result that are JSON already, and are left as they are.
type Raw = json.RawMessage
