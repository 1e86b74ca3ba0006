package conns

import (
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

func TestFlags(t *testing.T) {
	var f flags
	f.set(flagServing)
	f.set(flagCounted)
	if !f.setStopReason(Evicted) || f.setStopReason(Expired) || f.stopReason() != Evicted {
		t.Errorf("stop reason: got %q, want the first one, %q", f.stopReason(), Evicted)
	}
	if !f.setCloseReason(Killed) || f.setCloseReason(Aborted) || f.closeReason() != Killed {
		t.Errorf("close reason: got %q, want the first one, %q", f.closeReason(), Killed)
	}
	if !f.clear(flagCounted) || f.clear(flagCounted) || f.has(flagCounted) {
		t.Error("clear: got true more than once, want it once")
	}
	if !f.has(flagServing) || f.has(flagParked) {
		t.Errorf("got the flags %b, want only flagServing", f.v.Load())
	}
}

// A connection that has ended between the copy of the list and the visit may have bytes that are
// not in the totals yet.
func TestEndedConnectionsAreNotAdded(t *testing.T) {
	c := new(connection)
	c.ctx.init(t.Context())
	engine.Init(&c.conn, transport.TCP{}, nil, c)
	var sum Counters
	if !sum.addLive([]*connection{c}) || sum.Handshaking != 1 {
		t.Errorf("live: got %+v, want one connection", sum)
	}
	engine.Of(&c.conn).Seal()
	if sum.addLive([]*connection{c}) {
		t.Error("ended: got true, want false")
	}
}
