package protocol_test

import (
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/protocoltest"
)

// lastWords answers what is left when the peer has ended, after a while.
type lastWords struct{ wait time.Duration }

func (lastWords) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	p.Send(frame)
	return protocol.Continue()
}

func (l lastWords) HandleEnd(p *protocol.Peer, rest []byte) {
	select {
	case <-time.After(l.wait):
		p.Send(append([]byte("rest "), rest...))
	case <-p.Context().Done():
	}
}

func TestEnder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return lastWords{time.Minute} }, protocol.Options{Codec: protocol.Lines{}})
		h.Write([]byte("one\ntw"))
		h.Expect("one")
		h.CloseWrite()
		h.ExpectNothing()
		h.Advance(time.Minute)
		h.Expect("rest tw")
		h.ExpectEnd(conns.PeerClosed)
	})
}

func TestEnderEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return lastWords{time.Hour} }, protocol.Options{Codec: protocol.Lines{}})
		h.Send("one")
		h.CloseWrite()
		began := time.Now()
		h.Shutdown()
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

type panicAtEnd struct{ lastWords }

func (panicAtEnd) HandleEnd(*protocol.Peer, []byte) { panic("by request") }

func TestEnderPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return panicAtEnd{} }, protocol.Options{})
		h.CloseWrite()
		h.ExpectEnd(conns.Panicked)
	})
}
