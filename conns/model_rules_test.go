package conns_test

import (
	"time"

	"goranch/conns"
)

// The rules by which the model changes.

func (m *model) use() {
	m.state.Used++
	m.state.Peak = max(m.state.Peak, m.state.Used)
}

// grant gives free slots to waiters.
func (m *model) grant() {
	for {
		var admitted []*call
		for len(m.confirms) > 0 && m.state.Used < m.state.Limit {
			m.state.Reserved--
			m.use()
			admitted, m.confirms = append(admitted, m.confirms[0]), m.confirms[1:]
		}
		for len(m.pending) > 0 && m.state.Used+m.state.Reserved < m.state.Limit {
			m.state.Reserved++
			m.pending[0].settle(nil)
			m.pending = m.pending[1:]
		}
		for len(m.reserves) > 0 && m.state.Used+m.state.Reserved < m.state.Limit {
			m.state.Reserved++
			m.reserves[0].settle(nil)
			m.reserves = m.reserves[1:]
		}
		if len(admitted) == 0 {
			return
		}
		for _, c := range admitted {
			c.settle(nil)
			m.admit(m.pendingOf[c])
		}
	}
}

func (m *model) admit(p *peer) {
	if len(m.shutdowns) > 0 {
		m.refuse(p)
		m.state.Used--
		return
	}
	p.counted, p.state, p.limit = true, handshaking, time.Now().Add(modelHandshake)
	if p.t.plain {
		p.state = serving
	}
	m.counts.Accepted++
	m.counts.Live++
}

func (m *model) refuse(p *peer) {
	p.state = ended
	m.counts.Accepted++
	m.counts.Refused++
	m.counts.Ended[conns.Refused]++
	m.ends[p] = outcome{Reason: conns.Refused}
}

// end ends p for the reason r of its protocol, unless another reason takes precedence.
func (m *model) end(p *peer, r conns.Reason) {
	f := outcome{r, p.state == serving}
	switch {
	case r == conns.Panicked:
	case p.closedFor != 0:
		f.Reason = p.closedFor
	case !f.Served && p.timedOut:
		f.Reason = conns.HandshakeTimeout
	case !f.Served && p.asked:
		f.Reason = conns.Shutdown
	case !f.Served:
		f.Reason = conns.HandshakeFailed
	case p.asked && r == conns.Finished:
		f.Reason = conns.Shutdown
	}
	if f.Served {
		m.counts.Served++
	} else {
		m.counts.HandshakeFailed++
	}
	p.state = ended
	m.counts.Live--
	m.counts.Ended[f.Reason]++
	m.ends[p] = f
	m.uncount(p)
}

func (m *model) uncount(p *peer) {
	if p.counted {
		p.counted = false
		m.state.Used--
		m.grant()
	}
}

func (m *model) ask(p *peer) {
	p.asked = true
	if p.behaviour == cooperative {
		m.end(p, conns.Shutdown)
	}
}

func (m *model) abort(p *peer, r conns.Reason) {
	if p.closedFor == 0 {
		p.closedFor = r
	}
	if p.behaviour != stuck {
		m.end(p, conns.Finished)
	}
}

// live returns the registered connections.
func (m *model) live() []*peer {
	var all []*peer
	for _, p := range m.peers {
		if p.state == handshaking || p.state == serving {
			all = append(all, p)
		}
	}
	return all
}
