package protocol_test

import (
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/protocoltest"
)

// restHandler echoes frames. At the end of input it sends the incomplete frame, after a time.
type restHandler struct{ wait time.Duration }

func (restHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	p.Send(frame)
	return protocol.Continue()
}

func (h restHandler) HandleEnd(p *protocol.Peer, rest []byte) {
	select {
	case <-time.After(h.wait):
		p.Send(append([]byte("rest "), rest...))
	case <-p.Context().Done():
	}
}

func TestEnder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return restHandler{time.Minute} }, protocol.Options{Codec: protocol.Lines{}})
		h.Write([]byte("one\ntw"))
		h.Expect("one")
		h.CloseWrite()
		h.ExpectNothing()
		h.Advance(time.Minute)
		h.Expect("rest tw")
		h.ExpectEnd(conns.PeerClosed)
	})
}

func TestEnderDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return restHandler{time.Hour} }, protocol.Options{Codec: protocol.Lines{}})
		h.Send("one")
		h.CloseWrite()
		begin := time.Now()
		h.Shutdown()
		if d := time.Since(begin); d > time.Second {
			t.Errorf("got a shutdown of %v, want less than a second", d)
		}
	})
}

type panickingEnder struct{ restHandler }

func (panickingEnder) HandleEnd(*protocol.Peer, []byte) { panic("test") }

func TestEnderPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, func() protocol.Handler { return panickingEnder{} }, protocol.Options{})
		h.CloseWrite()
		h.ExpectEnd(conns.Panicked)
	})
}
