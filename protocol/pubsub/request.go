package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"goranch/internal/topicname"
	"goranch/protocol"
	"goranch/protocol/session"
)

// handle carries out a request. An error is sent to the client and ends the connection.
func (h *handler) handle(r *request) error {
	switch r.Action {
	case "subscribe", "unsubscribe", "presence", "attach":
	case "publish":
		return h.handlePublish(r)
	case "":
		return fmt.Errorf("%w: the request has no action", protocol.ErrBadInput)
	default:
		return fmt.Errorf("%w: unknown action %.40q", protocol.ErrBadInput, r.Action)
	}
	data, err := r.stringData()
	if err != nil {
		return err
	}
	if r.Action == "attach" {
		return h.attach(data)
	}
	if err := checkTopic(data, h.server.opts.MaxTopic); err != nil {
		return err
	}
	switch r.Action {
	case "subscribe":
		return h.subscribe(data, r)
	case "unsubscribe":
		return h.sub.unsubscribe(h.peer, data)
	}
	if err := h.authorize(ActionPresence, data); err != nil {
		return err
	}
	n, err := h.presence(data)
	if err != nil {
		return err
	}
	return h.answer(fmt.Appendf(nil, `{"subscribers":%d`, n), r)
}

// presence returns the number of subscribers of all servers of the Broker. Those that it cannot
// reach have none.
func (h *handler) presence(name string) (int, error) {
	n, b := h.server.Subscribers(name), h.server.opts.Broker
	if b == nil {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(h.peer.Context(), brokerTimeout)
	defer cancel()
	others, err := b.Presence(ctx, name)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return 0, err
	}
	return n + others, nil
}

// handlePublish carries out a publish request. A refusal that a later attempt may not meet is an
// answer, so that it does not end the connection.
func (h *handler) handlePublish(r *request) error {
	topic, message, err := r.messageData()
	if err != nil {
		return err
	}
	p, err := h.publish(topic, r.Key, message)
	switch {
	case isRefusal(err):
		b, _ := json.Marshal(err.Error())
		return h.answer(append([]byte(`{"refused":`), b...), r)
	case err != nil:
		return err
	}
	b := fmt.Appendf(nil, `{"published":%d`, p.Subscribers)
	if r.Key != "" && p.Position != (Position{}) {
		epoch, _ := json.Marshal(p.Position.Epoch)
		b = fmt.Appendf(b, `,"epoch":%s,"offset":%d`, epoch, p.Position.Offset)
	}
	return h.answer(b, r)
}

// answer sends b, which lacks the closing brace, with the id of the request if it has one.
func (h *handler) answer(b []byte, r *request) error {
	if len(r.ID) > 0 {
		b = append(append(b, `,"id":`...), r.ID...)
	}
	return ignoreDropped(h.peer.Send(append(b, '}')))
}

func (h *handler) authorize(a Action, topic string) error {
	if f := h.server.opts.Authorize; f != nil {
		if err := f((*Client)(h), a, topic); err != nil {
			return fmt.Errorf("%w: not allowed: %s %q: %w", protocol.ErrBadInput, a, topic, err)
		}
	}
	return nil
}

func (h *handler) subscribe(name string, r *request) error {
	if err := h.authorize(ActionSubscribe, name); err != nil {
		return err
	}
	history := r.History
	if r.Last {
		history = max(history, 1)
	}
	switch {
	case history > 0 && topicname.IsPattern(name):
		return fmt.Errorf("%w: a pattern has no history", protocol.ErrBadInput)
	case r.Since != nil && topicname.IsPattern(name):
		return errNoPositions("a pattern has no positions")
	case r.Since != nil && !h.server.opts.keepsHistory():
		return errNoPositions("topics without a history have no positions")
	case (r.Since != nil || history > 0) && h.server.opts.keepsHistory() && h.server.ordered(name):
		return h.subscribeOrdered(name, r.Since, history)
	case r.Since == nil:
		return h.sub.subscribe(h.peer, name, false, func(t *topic) (Position, error) {
			return Position{}, h.sendHistory(t.history.last(history), nil)
		})
	}
	return h.sub.subscribe(h.peer, name, true, func(t *topic) (Position, error) {
		from, recovered, missed := h.server.topics.historyOf(t).since(*r.Since, h.server.epoch)
		return Position{}, h.sendHistory(missed, subscribedFrame(name, from, recovered))
	})
}

// sendHistory confirms a subscription and sends messages of its topic: with their offsets, after
// the frame that says where they continue, unless that is nil.
func (h *handler) sendHistory(entries []historyEntry, subscribed []byte) error {
	if err := h.allowHistory(entries); err != nil {
		return err
	}
	err := ignoreDropped(sendAlone(h.peer, ack))
	if subscribed != nil {
		err = errors.Join(err, ignoreDropped(h.peer.Send(subscribed)))
	}
	for _, e := range entries {
		frame := e.frame
		if subscribed != nil {
			frame = numberedFrame(frame, e.offset, e.previous)
		}
		err = errors.Join(err, ignoreDropped(h.peer.Outbox().Send(frame)))
	}
	return err
}

// bytesPerFrame is how many bytes, of a request or of the history that answers it, count as one
// frame of the client's rate limit.
const bytesPerFrame = 2 << 10

// allowHistory counts the history that a subscribe request is answered with.
func (h *handler) allowHistory(entries []historyEntry) error {
	n := 0
	for _, e := range entries {
		n += len(e.frame)
	}
	return h.allowFrames(n / bytesPerFrame)
}

// attach replaces the connection's own session by the one with that token.
func (h *handler) attach(token string) error {
	if h.hasRequested {
		return fmt.Errorf("%w: attach must be the first request", protocol.ErrBadInput)
	}
	if token != h.lease.ID() {
		if err := h.attachOther(token); errors.Is(err, session.ErrUnavailable) {
			return fmt.Errorf("%w: attach: %w", ErrUnavailable, err)
		} else if err != nil {
			return fmt.Errorf("%w: attach: %w", protocol.ErrBadInput, err)
		}
	}
	return ignoreDropped(sendAlone(h.peer, ack))
}

func (h *handler) attachOther(token string) error {
	lease, err := h.server.sessions.Attach(h.peer.Context(), token, h.peer.Conn().RemoteAddr(), (*sessionConn)(h))
	if err != nil {
		return err
	}
	own, sub := h.lease, (*subscriber)(nil)
	err = lease.Do(func(st *sessionState) { // View would also change a session that has ended
		if st.subscriber == nil {
			st.subscriber = &subscriber{server: h.server, session: lease.Unbound(), restore: maps.Clone(st.Topics)}
		}
		sub = st.subscriber
	})
	if err != nil {
		return err
	}
	h.lease, h.sub = lease, sub
	h.label()
	own.End()
	return sub.attach(h.peer, h.account, lease)
}

// publishFrame parses and publishes a message that the client has sent.
func (h *handler) publishFrame(b []byte) error {
	topic, message, err := parseMessage(b)
	if err != nil {
		return err
	}
	_, err = h.publish(topic, "", message)
	return err
}

// publish publishes a message that the client has sent.
func (h *handler) publish(topic, key string, message []byte) (p Published, err error) {
	if !h.server.allow(&h.publishes, 1, h.server.opts.PublishRate) {
		return p, limitError("messages per second per connection", h.server.opts.PublishRate)
	}
	if err := checkPublishTopic(topic, h.server.opts.MaxTopic); err != nil {
		return p, err
	}
	if err := h.authorize(ActionPublish, topic); err != nil {
		return p, err
	}
	return h.server.publishKey(h.peer.Context(), topic, key, h.account.key, message)
}
