package packet

import "goranch/protocol"

// Group is a set of clients that get the same notifications, such as a room or a team. Order and
// slow clients are treated as by [protocol.Group]. A client leaves its groups when its connection
// ends, before Options.OnEnd is called. All methods may be called from any goroutine.
type Group struct{ group *protocol.Group }

// NewGroup returns an empty group for clients of s.
func (s *Server) NewGroup() *Group { return &Group{&protocol.Group{Codec: s.codec}} }

// All returns the group of all connected clients.
func (s *Server) All() *Group { return s.all }

// Join adds p to the group. It does nothing if p is in the group already. It returns
// [protocol.ErrEnded] if the connection has ended.
func (g *Group) Join(p *Peer) error { return g.group.Join(p.peer) }

// Leave removes p from the group, and reports whether it was in the group.
func (g *Group) Leave(p *Peer) bool { return g.group.Leave(p.peer) }

// Count returns the number of clients in the group.
func (g *Group) Count() int { return g.group.Count() }

// Notify sends a notification, encoded once, to all clients of the group and returns their number.
// It waits for none of them. nil params are omitted. The error is an encoding error, or
// [protocol.ErrFrameTooLarge].
func (g *Group) Notify(method string, params any) (n int, err error) {
	return g.NotifyExcept(nil, method, params)
}

// NotifyExcept is Notify without p. A nil p excludes no client.
func (g *Group) NotifyExcept(p *Peer, method string, params any) (n int, err error) {
	b, err := notification(method, params)
	if err != nil {
		return 0, err
	}
	if p == nil {
		return g.group.Broadcast(b, nil)
	}
	return g.group.Broadcast(b, p.peer)
}
