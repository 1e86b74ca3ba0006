package conns

// Get returns the connection with that id, and whether it is registered.
func (s *Supervisor) Get(id uint64) (Info, bool) {
	if c := s.find(id); c != nil {
		return c.info(), true
	}
	return Info{}, false
}

// Kill closes the connection with that id at once, and reports whether there was one. Its context
// is cancelled with [Killed] as the cause.
func (s *Supervisor) Kill(id uint64) bool {
	c := s.find(id)
	if c == nil {
		return false
	}
	c.close(Killed, Killed)
	return true
}

// KillMatching closes the connections for which match returns true, and returns how many. match
// is called with no lock held.
func (s *Supervisor) KillMatching(match func(*Info) bool) (n int) {
	s.each(func(c *connection) {
		if i := c.info(); match(&i) {
			c.close(Killed, Killed)
			n++
		}
	})
	return n
}

func (s *Supervisor) find(id uint64) *connection {
	for _, c := range s.shards[id%uint64(len(s.shards))].snapshot(nil) {
		if c.conn.ID() == id {
			return c
		}
	}
	return nil
}
