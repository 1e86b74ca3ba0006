package pubsub

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// Client is a connected client, as Options.Authorize sees it. Its methods may be called while
// Authorize runs.
type Client struct {
	server *Server
	peer   *protocol.Peer

	// The session.
	lease *session.Session[sessionState]
	sub   *subscriber

	// The request stream.
	expectMessage  bool          // PUBLISH was received; the next frame is the message
	hasRequested   bool          // a request was handled; attach is no longer allowed
	publishLimiter *rate.Limiter // nil until the first publish

	monitor clientMonitor
}

// Conn returns the connection, for its addresses and TLS state.
func (c *Client) Conn() *transport.Conn { return c.peer.Conn() }

// Token returns the token of the client's session. It is a secret: any client that has it can
// attach to the session.
func (c *Client) Token() string { return c.lease.ID() }

// handler is a Client as protocol.Handle sees it.
type handler Client

func (h *handler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.peer = p
	var err error
	h.lease, err = h.server.sessions.Create(p.Context(), p.Conn().RemoteAddr(), (*sessionConn)(h), sessionState{})
	if err != nil {
		return h.refuse(err)
	}
	h.sub = &subscriber{server: h.server, session: h.lease.Unbound(), peer: p}
	h.lease.View(func(st *sessionState) { st.subscriber = h.sub })
	h.server.monitor.add((*Client)(h))
	if err := ignoreDropped(p.Send(greeting(h.lease.ID(), time.Now()))); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

func (h *handler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if len(frame) > h.server.opts.MaxFrame {
		return h.refuse(fmt.Errorf("%w: the limit is %d bytes", protocol.ErrFrameTooLarge, h.server.opts.MaxFrame))
	}
	switch string(frame) {
	case marker, "":
		return protocol.Continue()
	}
	if h.expectMessage {
		if _, err := h.publish(frame); err != nil {
			return h.refuse(err)
		}
		return protocol.Stop()
	}
	switch string(frame) {
	case ping, pong:
		return protocol.Continue()
	case publish:
		h.expectMessage = true
		return protocol.Continue()
	}
	r, err := parseRequest(frame)
	if err == nil {
		err = h.handle(&r)
	}
	if err != nil {
		return h.refuse(err)
	}
	h.hasRequested = true
	return protocol.Continue()
}

// HandleEnd publishes a message whose final NUL is missing: a publisher may close instead.
func (h *handler) HandleEnd(_ *protocol.Peer, rest []byte) {
	if h.expectMessage && len(rest) > 0 && string(rest) != marker {
		if _, err := h.publish(rest); err != nil {
			h.refuse(err) // a client that has only closed its write side still reads
		}
	}
}

// refuse sends an error frame and closes the connection.
func (h *handler) refuse(err error) protocol.Action {
	h.server.counters.refused.Add(1)
	sendAlone(h.peer, errorFrame(err)) // best effort: the connection ends anyway
	return protocol.Fail(err)
}

// HandleLeave detaches the session as soon as the connection ends, which is before its queue is
// flushed and closed, so that the session buffers every message that is published from now on.
func (h *handler) HandleLeave(p *protocol.Peer, err error, rest []byte) {
	// A publisher that closes without having read its greeting resets the connection.
	if errors.Is(err, syscall.ECONNRESET) {
		h.HandleEnd(p, rest)
	}
	if h.sub == nil {
		return
	}
	if !h.sub.detach(p, h.lease) && !errors.Is(h.lease.End(), session.ErrStale) {
		h.sub.end() // the session may have ended before its state pointed to sub
	}
}

func (h *handler) HandleClose(p *protocol.Peer, err error) {
	h.server.monitor.remove((*Client)(h))
	if errors.Is(err, protocol.ErrQueueFull) {
		h.server.counters.slow.Add(1)
	}
}

// ignoreDropped returns err unless it says that the queue has dropped a frame; the monitor reports
// dropped frames to the client.
func ignoreDropped(err error) error {
	if errors.Is(err, protocol.ErrDropped) {
		return nil
	}
	return err
}

// sessionConn is a Client as its session sees it: the connection that holds the lease.
type sessionConn Client

// Deliver sends an encoded message, after a notice of the bytes of older messages that were lost.
func (c *sessionConn) Deliver(frame []byte, lost int) error {
	if lost > 0 {
		if err := ignoreDropped(sendAlone(c.peer, countFrame(lostBytesPrefix, uint64(lost)))); err != nil {
			return err
		}
	}
	if len(frame) == 0 { // all buffered messages were lost
		return nil
	}
	return ignoreDropped(c.peer.Outbox().Send(frame))
}

// Revoked closes the connection after its session was taken over or ended.
func (c *sessionConn) Revoked(_ net.Addr, err error) {
	if err == session.ErrStale {
		err = ErrTakenOver
	}
	sendAlone(c.peer, errorFrame(err))
	c.peer.Close(err)
}
