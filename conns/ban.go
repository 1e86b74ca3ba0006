package conns

import "goranch/internal/remoteip"

// bannedError names the rule that denies a connection.
type bannedError struct{ rule *NetworkRule }

func (e *bannedError) Error() string {
	s := "banned: the rule for " + e.rule.Prefix.String() + " denies the address"
	if e.rule.Reason != "" {
		s += ": " + e.rule.Reason
	}
	return s
}

func (e *bannedError) Unwrap() error { return Banned }

// CloseBanned closes the live connections whose address a rule of Settings.Networks denies, at once
// and for the reason [Banned], and returns how many. Connections whose PROXY header has not been
// read are checked when it is.
func (s *Supervisor) CloseBanned() (n int) {
	networks := s.settings.Load().Networks
	if networks.Len() == 0 {
		return 0
	}
	s.each(func(c *connection) {
		if c.closeIfBanned(networks) {
			n++
		}
	})
	return n
}

// closeIfBanned closes the connection if a rule denies its client, and reports whether it did.
func (c *connection) closeIfBanned(n *Networks) bool {
	addr, h := c.conn.RemoteAddr(), c.conn.Proxy()
	switch {
	case h != nil && h.Source == nil:
		return false
	case h == nil && !c.flags.has(flagServing) && c.behindProxy(): // begin checks the client when it is known
		return false
	}
	rule := n.find(remoteip.Of(addr))
	if rule == nil || !rule.Deny || c.flags.closeReason() != 0 {
		return false
	}
	c.close(Banned, Banned)
	return true
}
