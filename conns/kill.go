package conns

// Kill closes the connections that q selects at once, and returns how many. Their contexts are
// cancelled with [Killed] as the cause.
func (s *Supervisor) Kill(q Query) int {
	found, _ := s.find(&q)
	for _, f := range found {
		f.c.close(Killed, Killed)
	}
	return len(found)
}
