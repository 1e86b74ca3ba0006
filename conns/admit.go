package conns

import (
	"goranch/internal/engine"
	"goranch/internal/remoteip"
)

// Tables in which the address of a connection is counted.
const (
	inOwn    = 1 << iota // that of its supervisor
	inShared             // that of the group
)

// admit reports the start of the connection, and applies the rules of networks and the limits per
// address to the source address of the socket. Behind a proxy, admitClient applies them when the
// client's address is known.
func (c *connection) admit() error {
	c.sup.applyTraces(c)
	if c.sup.cfg.Started != nil {
		c.sup.cfg.Started(&c.conn)
	}
	if c.behindProxy() {
		return nil
	}
	return c.admitAddress()
}

// admitClient admits the client of a proxy, after the PROXY header was read.
func (c *connection) admitClient() error {
	if h := c.conn.Proxy(); h != nil {
		c.sup.applyTraces(c) // the remote address has changed to that of the client
		if h.Source == nil {
			return nil // the proxy itself is the client
		}
	}
	if err := c.admitAddress(); err != nil {
		return err
	}
	return c.callAdmit()
}

// admitAddress admits or refuses the client at the remote address.
func (c *connection) admitAddress() error {
	set := c.sup.settings.Load()
	own := addressLimits{set.Limits.PerAddress, set.Limits.AddressRate}
	if shared := c.sup.cfg.Gate.shared; shared == nil && set.Networks == nil && !own.any() {
		return nil
	}
	return c.applyRules(set.Networks, own)
}

// applyRules is the part of admitAddress that most servers do not need. It is not inlined, so that
// their connections need less stack.
//
//go:noinline
func (c *connection) applyRules(n *Networks, own addressLimits) error {
	ip := remoteip.Of(c.conn.RemoteAddr())
	if !ip.IsValid() {
		return nil
	}
	var group addressLimits
	shared := c.sup.cfg.Gate.shared
	if shared != nil {
		l := shared.limits.Load()
		group = addressLimits{l.PerAddress, l.AddressRate}
	}
	rule := n.find(ip)
	if rule != nil {
		if rule.Deny {
			return &bannedError{rule}
		}
		if rule.Exempt {
			return nil
		}
		own = own.replaced(rule)
		if group.any() {
			group = group.replaced(rule)
		}
	}
	if !own.any() && !group.any() {
		return nil
	}
	return c.countAddress(keyOf(ip, rule), own, group)
}

// countAddress counts the connection in the tables that have a limit.
func (c *connection) countAddress(key addressKey, own, group addressLimits) error {
	if own.any() {
		a, err := c.sup.addresses.add(key, own, c.sup.now())
		if err != nil {
			return err
		}
		c.address, c.countedIn = a, inOwn
	}
	if !group.any() {
		return nil
	}
	shared := c.sup.cfg.Gate.shared
	a, err := shared.addresses.add(key, group, shared.now())
	if err != nil {
		c.uncountAddress()
		return err
	}
	if c.address == nil {
		c.address = a
	}
	c.countedIn |= inShared
	return nil
}

// uncountAddress undoes countAddress.
func (c *connection) uncountAddress() {
	if c.countedIn&inOwn != 0 {
		c.sup.addresses.remove(c.address.key, c.sup.now())
	}
	if c.countedIn&inShared != 0 {
		shared := c.sup.cfg.Gate.shared
		shared.addresses.remove(c.address.key, shared.now())
	}
	c.address, c.countedIn = nil, 0
}

func (c *connection) behindProxy() bool {
	return engine.BehindProxy(c.conn.Transport(), c.conn.NetConn().RemoteAddr())
}
