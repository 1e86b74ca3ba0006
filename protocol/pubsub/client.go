package pubsub

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// ErrTakenOver is how a connection ends whose session was attached to another one.
var ErrTakenOver = errors.New("the session was attached to another connection")

// ErrSilent is how a connection ends on which too many heartbeats were left without a sign of life.
var ErrSilent = fmt.Errorf("%w: too many heartbeats without an answer", protocol.ErrBadInput)

// Client is a connection, as [Options].Authorize sees it.
type Client struct {
	s          *Server
	peer       *protocol.Peer
	sub        *subscriber
	lease      *session.Session[state]
	pace       *rate.Limiter // nil: nothing was published
	publishing bool          // the next frame is a message
	asked      bool          // something was asked for
	pulse      pulse
}

// Conn returns the connection, for its addresses and its TLS state.
func (c *Client) Conn() *transport.Conn { return c.peer.Conn() }

// Token returns that of the client's session.
func (c *Client) Token() string { return c.lease.ID() }

// handler is a Client at work.
type handler Client

func (h *handler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.peer = p
	var err error
	h.lease, err = h.s.sessions.Create(p.Context(), p.Conn().RemoteAddr(), (*holder)(h), state{})
	if err != nil {
		return h.refuse(err)
	}
	h.sub = &subscriber{s: h.s, session: h.lease.Unbound(), peer: p}
	h.lease.View(func(st *state) { st.live = h.sub })
	h.s.crowd.add((*Client)(h))
	return sent(p.Send(hello(h.lease.ID(), time.Now())))
}

// sent goes on, unless what was sent will not arrive.
func sent(err error) protocol.Action {
	if err != nil && !errors.Is(err, protocol.ErrDropped) {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

func (h *handler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if len(frame) > h.s.opts.MaxFrame {
		return h.refuse(fmt.Errorf("%w: allowed are %d bytes", protocol.ErrFrameTooLarge, h.s.opts.MaxFrame))
	}
	switch string(frame) {
	case marker, "":
		return protocol.Continue()
	}
	if h.publishing {
		if _, err := h.publish(frame); err != nil {
			return h.refuse(err)
		}
		return protocol.Stop()
	}
	switch string(frame) {
	case ping, pong:
		return protocol.Continue()
	case publish:
		h.publishing = true
		return protocol.Continue()
	}
	r, err := parseRequest(frame)
	if err == nil {
		err = h.do(&r)
	}
	if err != nil {
		return h.refuse(err)
	}
	h.asked = true
	return protocol.Continue()
}

// HandleEnd takes a message without a NUL behind it: who publishes may just close.
func (h *handler) HandleEnd(_ *protocol.Peer, rest []byte) {
	if h.publishing && len(rest) > 0 && string(rest) != marker {
		if _, err := h.publish(rest); err != nil {
			h.refuse(err) // it may still be reading
		}
	}
}

// refuse tells the client why its connection ends.
func (h *handler) refuse(err error) protocol.Action {
	h.s.count.refused.Add(1)
	h.peer.SendAlone(complaint(err)) // if it cannot be told, so be it
	return protocol.Fail(err)
}

// HandleLeave leaves the session before anything that is published from now on can be lost. Who closes
// without having read all ends with an error, and may have published before.
func (h *handler) HandleLeave(p *protocol.Peer, err error, rest []byte) {
	if errors.Is(err, syscall.ECONNRESET) {
		h.HandleEnd(p, rest)
	}
	if h.sub == nil {
		return
	}
	if !h.sub.detach(p, h.lease) && !errors.Is(h.lease.End(), session.ErrStale) {
		h.sub.end() // the session may have ended before it knew of sub
	}
}

func (h *handler) HandleClose(p *protocol.Peer, err error) {
	h.s.crowd.remove((*Client)(h))
	if errors.Is(err, protocol.ErrQueueFull) {
		h.s.count.slow.Add(1)
	}
}

// do does what a request asks for. The error is told to the client.
func (h *handler) do(r *request) error {
	switch r.Action {
	case "subscribe", "unsubscribe", "presence", "attach":
	case "publish":
		n, err := h.publish(r.Data)
		if err != nil {
			return err
		}
		return h.answer(`{"published":%d`, r, n)
	case "":
		return fmt.Errorf("%w: a request needs an action", protocol.ErrBadInput)
	default:
		return fmt.Errorf("%w: unknown action %.40q", protocol.ErrBadInput, r.Action)
	}
	what, err := r.text()
	if err != nil {
		return err
	}
	if r.Action == "attach" {
		return h.attach(what)
	}
	if err := checkTopic(what, h.s.opts.MaxTopic); err != nil {
		return err
	}
	switch r.Action {
	case "subscribe":
		return h.subscribe(what, r)
	case "unsubscribe":
		return h.sub.unsubscribe(h.peer, what)
	}
	if err := h.allowed(Presence, what); err != nil {
		return err
	}
	return h.answer(`{"subscribers":%d`, r, h.s.Count(what))
}

// answer sends a number, with the id of the request if it has one.
func (h *handler) answer(format string, r *request, n int) error {
	b := fmt.Appendf(nil, format, n)
	if len(r.ID) > 0 {
		b = append(append(b, `,"id":`...), r.ID...)
	}
	return unlessDropped(h.peer.Send(append(b, '}')))
}

func unlessDropped(err error) error {
	if errors.Is(err, protocol.ErrDropped) {
		return nil // it will be told
	}
	return err
}

func (h *handler) allowed(a Action, topic string) error {
	if f := h.s.opts.Authorize; f != nil {
		if err := f((*Client)(h), a, topic); err != nil {
			return fmt.Errorf("%w: not allowed: %s %q: %w", protocol.ErrBadInput, a, topic, err)
		}
	}
	return nil
}

func (h *handler) subscribe(topic string, r *request) error {
	if err := h.allowed(Subscribe, topic); err != nil {
		return err
	}
	past := r.History
	if r.Last {
		past = max(past, 1)
	}
	if past > 0 && isPattern(topic) {
		return fmt.Errorf("%w: a pattern has no history", protocol.ErrBadInput)
	}
	return h.sub.subscribe(h.peer, topic, past, func(past [][]byte) error {
		err := unlessDropped(h.peer.SendAlone(ack))
		for _, frame := range past {
			err = errors.Join(err, unlessDropped(h.peer.SendEncoded(frame)))
		}
		return err
	})
}

// attach goes on with another session, and ends the one that the connection has begun with.
func (h *handler) attach(token string) error {
	if h.asked {
		return fmt.Errorf("%w: attach has to be the first request", protocol.ErrBadInput)
	}
	if token != h.lease.ID() {
		lease, err := h.s.sessions.Attach(h.peer.Context(), token, h.peer.Conn().RemoteAddr(), (*holder)(h))
		if err != nil {
			return fmt.Errorf("%w: attach: %w", protocol.ErrBadInput, err)
		}
		fresh, sub := h.lease, (*subscriber)(nil)
		err = lease.Do(func(st *state) { // View would do it to a session that has ended, too
			if st.live == nil {
				st.live = &subscriber{s: h.s, session: lease.Unbound(), topics: slices.Clone(st.Topics)}
			}
			sub = st.live
		})
		if err != nil {
			return fmt.Errorf("%w: attach: %w", protocol.ErrBadInput, err)
		}
		h.lease, h.sub = lease, sub
		fresh.End()
		if err := sub.attach(h.peer, lease); err != nil {
			return fmt.Errorf("%w: attach: %w", protocol.ErrBadInput, err)
		}
	}
	return unlessDropped(h.peer.SendAlone(ack))
}

// publish publishes a message of the client's.
func (h *handler) publish(b []byte) (n int, err error) {
	topic, message, err := parseMessage(b)
	if err != nil {
		return 0, err
	}
	if h.pace == nil {
		h.pace = h.s.opts.pace()
	}
	if !h.pace.Allow() {
		return 0, limited("messages per second of one client", h.s.opts.PublishRate)
	}
	if err := h.allowed(Publish, topic); err != nil {
		return 0, err
	}
	return h.s.publish(topic, message)
}

// holder is a Client as its session sees it.
type holder Client

// Deliver sends a published frame. If older frames were dropped, it first sends a notice of how many
// bytes they had.
func (h *holder) Deliver(frame []byte, lost int) error {
	if lost > 0 {
		if err := unlessDropped(h.peer.SendAlone(notice(`{"lost_bytes":`, uint64(lost)))); err != nil {
			return err
		}
	}
	if len(frame) == 0 {
		return nil
	}
	return unlessDropped(h.peer.SendEncoded(frame))
}

// Revoked closes the connection of a session that was taken over or ended.
func (h *holder) Revoked(_ net.Addr, err error) {
	if err == session.ErrStale {
		err = ErrTakenOver
	}
	h.peer.SendAlone(complaint(err))
	h.peer.Close(err)
}
