package packet

import (
	"errors"
	"fmt"
	"time"

	"goranch/protocol"
)

// handler serves one connection by the callbacks of package protocol.
type handler struct {
	server *Server
	peer   *Peer
}

func (h *handler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.peer = newPeer(h.server, p)
	h.server.add(h.peer)
	return h.hook(h.server.opts.OnConnect)
}

func (h *handler) HandleTick(*protocol.Peer) protocol.Action {
	return h.hook(h.server.opts.OnTick)
}

func (h *handler) hook(f func(*Peer) error) protocol.Action {
	if f != nil {
		if err := f(h.peer); err != nil {
			return protocol.Fail(err)
		}
	}
	return protocol.Continue()
}

func (h *handler) HandleData(_ *protocol.Peer, frame []byte) protocol.Action {
	p := h.peer
	now := time.Now()
	defer p.last.Store(int64(now.Sub(p.began))) // after the call, which sees the previous frame's time
	if isTooLarge(frame) {
		return h.refuse(fmt.Errorf("%w: allowed are %d bytes", protocol.ErrFrameTooLarge, h.server.opts.MaxFrame))
	}
	size := len(frame) + prefix
	p.frames.Add(1)
	p.bytes.Add(uint64(size))
	if err := p.limits.allow(now, size); err != nil {
		return h.refuse(err)
	}
	if response := h.server.respond(p, frame); response != nil {
		if err := p.peer.Send(response); errors.Is(err, protocol.ErrDropped) {
			return protocol.Fail(fmt.Errorf("%w: no space for a response", protocol.ErrQueueFull))
		} else if err != nil {
			return protocol.Fail(err)
		}
	}
	return protocol.Continue()
}

// refuse sends the client the reason and ends the connection.
func (h *handler) refuse(err error) protocol.Action {
	// A failed send changes nothing: the connection ends with err.
	h.peer.peer.Send(appendError(nil, null, &Error{Code: CodeLimit, Message: err.Error()}))
	return protocol.Fail(err)
}

func (h *handler) HandleMessage(_ *protocol.Peer, msg any) protocol.Action {
	msg.(func(*Peer))(h.peer)
	return protocol.Continue()
}

// HandleClose calls the functions by defer, so that each runs even if another panics.
func (h *handler) HandleClose(_ *protocol.Peer, err error) {
	h.server.remove(h.peer)
	if h.server.opts.OnEnd != nil {
		defer h.server.opts.OnEnd(h.peer, err)
	}
	for _, f := range h.peer.atEnd {
		defer f(err)
	}
}
