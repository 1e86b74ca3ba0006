package conns

import (
	"cmp"
	"net"
	"slices"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// Info describes a connection that lives.
type Info struct {
	ID         uint64
	Transport  string
	RemoteAddr net.Addr
	LocalAddr  net.Addr
	Since      time.Time         // when it was accepted
	Serving    bool              // false while it is in the handshake
	Counted    bool              // false once it was removed from the count
	Protocol   protocol.Protocol // what it was accepted for
	Stats      transport.Stats
}

// List returns all connections, those in the handshake and those no longer counted
// included, oldest first.
func (s *Supervisor) List() []Info {
	var live []*connection
	s.each(func(c *connection) { live = append(live, c) })
	slices.SortFunc(live, func(a, b *connection) int { return cmp.Compare(a.conn.ID(), b.conn.ID()) })
	all := make([]Info, len(live))
	for i, c := range live {
		all[i] = c.info()
	}
	return all
}

// Get returns the connection with that id, if it lives.
func (s *Supervisor) Get(id uint64) (Info, bool) {
	if c := s.find(id); c != nil {
		return c.info(), true
	}
	return Info{}, false
}

// Kill closes the connection with that id at once, and reports whether there was one.
// Its context is cancelled with [ErrKilled] as the cause.
func (s *Supervisor) Kill(id uint64) bool {
	c := s.find(id)
	if c == nil {
		return false
	}
	c.abort(Killed, ErrKilled)
	return true
}

// Remove stops counting conn against the cap it was accepted under: its slot is free
// again while it lives on. Calling it again does nothing, nor does it with a connection that
// no supervisor owns.
func Remove(conn *transport.Conn) {
	if c, ok := conn.Owner().(*connection); ok {
		c.uncount()
	}
}

func (s *Supervisor) find(id uint64) *connection {
	sh := &s.shards[id%uint64(len(s.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for c := sh.first; c != nil; c = c.next {
		if c.conn.ID() == id {
			return c
		}
	}
	return nil
}

func (c *connection) info() Info {
	return Info{
		ID: c.conn.ID(), Transport: c.conn.Transport().Name(),
		RemoteAddr: c.conn.RemoteAddr(), LocalAddr: c.conn.LocalAddr(),
		Since: c.started, Serving: c.serving.Load(), Counted: c.counted.Load(),
		Protocol: c.protocol, Stats: c.conn.Stats(),
	}
}
