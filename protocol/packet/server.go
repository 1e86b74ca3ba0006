package packet

import (
	"context"
	"sync"

	"goranch/protocol"
	"goranch/transport"
)

// Server is a protocol that serves JSON-RPC 2.0. Its methods may be called from any goroutine. It
// has no goroutine of its own and may serve several listeners.
type Server struct {
	opts     Options
	codec    codec
	protocol protocol.Protocol
	methods  sync.Map // string to method
	all      *Group

	mu    sync.Mutex
	peers map[*Peer]struct{}
}

// NewServer returns a server without methods. The error joins the faults of all options.
func NewServer(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts.withDefaults(), peers: make(map[*Peer]struct{})}
	s.codec = codec{protocol.LengthPrefix{Size: prefix, Max: s.opts.MaxFrame}}
	s.all = s.NewGroup()
	s.protocol = protocol.Handle(func() protocol.Handler { return &handler{server: s} }, protocol.Options{
		Codec: s.codec, Tick: s.opts.Tick, ReadTimeout: s.opts.ReadTimeout, Queue: s.opts.Queue, PauseAt: s.opts.pauseAt(),
	})
	return s, nil
}

// Serve serves one connection.
func (s *Server) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap implements [protocol.Unwrapper], so that idle connections are parked.
func (s *Server) Unwrap() protocol.Protocol { return s.protocol }

// Peers returns the connected clients in no particular order.
func (s *Server) Peers() []*Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Peer, 0, len(s.peers))
	for p := range s.peers {
		all = append(all, p)
	}
	return all
}

func (s *Server) add(p *Peer) {
	s.mu.Lock()
	s.peers[p] = struct{}{}
	s.mu.Unlock()
	s.all.Join(p) // cannot fail: p has not ended, as it is in its HandleConnect
}

func (s *Server) remove(p *Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p)
}
