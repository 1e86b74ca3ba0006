package pubsub

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"goranch/internal/bucket"
	"goranch/internal/httpline"
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
	incoming      incoming
	hasFrame      bool // a frame has arrived completely
	expectMessage bool // PUBLISH was received; the next frame is the message
	hasRequested  bool // a request was handled; attach is no longer allowed
	account       *account
	requests      bucket.Bucket
	publishes     bucket.Bucket

	monitor clientMonitor
}

// Conn returns the connection, for its addresses and TLS state.
func (c *Client) Conn() *transport.Conn { return c.peer.Conn() }

// Token returns the token of the client's session, which [Server.EndSession] takes. It is a secret:
// any client that has it can attach to the session.
func (c *Client) Token() string { return c.lease.ID() }

// handler is a Client as protocol.Handle sees it.
type handler Client

func (h *handler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.peer = p
	h.account = h.server.accounts.open(p.Conn().RemoteAddr())
	var err error
	h.lease, err = h.server.sessions.Create(p.Context(), p.Conn().RemoteAddr(), (*sessionConn)(h), sessionState{})
	if err != nil {
		return h.refuse(err)
	}
	h.sub = &subscriber{server: h.server, session: h.lease.Unbound(), peer: p, account: h.account}
	h.lease.View(func(st *sessionState) { st.subscriber = h.sub })
	h.server.monitor.add((*Client)(h))
	p.Conn().SetLabel("protocol", "topics")
	h.label()
	if err := ignoreDropped(p.Send(greeting(h.lease.ID(), time.Now()))); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// label shows operators which session the connection has.
func (h *handler) label() { h.peer.Conn().SetLabel("client", session.PublicID(h.lease.ID())) }

// HandleData handles a piece of a frame.
func (h *handler) HandleData(_ *protocol.Peer, piece []byte) protocol.Action {
	frame, complete := bytes.CutSuffix(piece, []byte{clientEnd})
	h.peer.Conn().SetReceiving(!complete)
	if len(h.incoming.buf) > 0 || !complete && !h.expectMessage {
		if err := h.incoming.add(frame, h.server.opts.MaxFrame, h.account); err != nil {
			return h.refuse(err)
		}
		frame = h.incoming.buf
	}
	if len(frame) > h.server.opts.MaxFrame {
		return h.refuse(frameTooLarge(h.server.opts.MaxFrame))
	}
	if h.expectMessage {
		return h.handleMessage(frame, complete)
	}
	if !h.hasFrame && isHTTP(frame) {
		return h.refuse(errHTTP)
	}
	if !complete {
		return protocol.Continue()
	}
	h.hasFrame = true
	defer h.incoming.reset(h.account)
	return h.handleFrame(frame)
}

var errHTTP = fmt.Errorf("%w: HTTP is not served here", protocol.ErrBadInput)

// isHTTP reports whether the first frame of a client begins with the first line of an HTTP request.
// A web page can make a browser send one, with frames of its choice in the body.
func isHTTP(frame []byte) bool {
	line, _, ended := bytes.Cut(frame[:min(len(frame), 8<<10)], []byte("\n"))
	return ended && httpline.IsRequest(line)
}

// handleMessage handles what has arrived of the message after PUBLISH.
func (h *handler) handleMessage(frame []byte, complete bool) protocol.Action {
	topic, message, ready, err := h.incoming.scanMessage(frame)
	switch {
	case err != nil:
		return h.refuse(err)
	case ready:
		_, err = h.publish(topic, "", message)
	case !complete:
		if len(h.incoming.buf) == 0 {
			err = h.incoming.add(frame, h.server.opts.MaxFrame, h.account)
		}
		if err != nil {
			return h.refuse(err)
		}
		return protocol.Continue()
	case string(frame) == marker || len(frame) == 0:
		h.incoming.reset(h.account)
		if err = h.allowFrames(1); err == nil {
			return protocol.Continue()
		}
	default:
		err = h.publishFrame(frame) // for its error: the frame is not complete JSON
	}
	if err != nil {
		return h.refuse(err)
	}
	return protocol.Stop()
}

// handleFrame handles a frame that is not a message after PUBLISH.
func (h *handler) handleFrame(frame []byte) protocol.Action {
	if err := h.allowFrames(1 + len(frame)/bytesPerFrame); err != nil {
		return h.refuse(err)
	}
	switch string(frame) {
	case marker, "", ping, pong:
		return protocol.Continue()
	case publish:
		h.expectMessage = true
		return protocol.Continue()
	}
	r, err := parseRequest(frame)
	defer r.release()
	if err == nil {
		err = h.handle(r)
	}
	if err != nil {
		return h.refuse(err)
	}
	if !h.hasRequested {
		h.hasRequested = true
		h.peer.Conn().Established() // the client speaks the protocol and has access
	}
	return protocol.Continue()
}

// allowFrames counts frames of any kind.
func (h *handler) allowFrames(n int) error {
	if !h.server.allow(&h.requests, n, h.server.opts.RequestRate) {
		return limitError("frames per second per connection", h.server.opts.RequestRate)
	}
	return nil
}

// HandleEnd refuses a message of which the end is missing: a client that has only closed its write
// side still reads.
func (h *handler) HandleEnd(*protocol.Peer, []byte) {
	if frame := h.incoming.buf; h.expectMessage && len(frame) > 0 && string(frame) != marker {
		if err := h.publishFrame(frame); err != nil {
			h.refuse(err)
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
func (h *handler) HandleLeave(p *protocol.Peer, _ error, _ []byte) {
	if h.sub == nil {
		return
	}
	if !h.sub.detach(p, h.lease) && !errors.Is(h.lease.End(), session.ErrStale) {
		h.sub.end() // the session may have ended before its state pointed to sub
	}
}

func (h *handler) HandleClose(_ *protocol.Peer, err error) {
	h.server.monitor.remove((*Client)(h))
	h.incoming.reset(h.account)
	h.account.close()
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
