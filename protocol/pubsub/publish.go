package pubsub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"goranch/internal/keyid"
	"goranch/internal/topicname"
	"goranch/protocol"
)

// Publish publishes a message to a topic. data is any value that encoding/json can encode. n is the
// number of subscribers of this server to which the message was passed, as in [Published], without
// those of other servers of the Broker.
//
// The error is about the arguments, which must be valid UTF-8, or wraps [ErrUnavailable] if the
// Broker orders the topic and has not accepted the message within 5 s. For other topics a failed
// Broker is reported to Options.OnError instead.
func (s *Server) Publish(topic, event, messageID string, data any) (n int, err error) {
	p, err := s.PublishKey(context.Background(), "", topic, event, messageID, data)
	return p.Subscribers, err
}

// PublishKey is Publish for a message that may be published again, for example because of an error:
// a message with the same topic and key as one that was published within [KeyWindow] is not
// delivered, and has the result of that one. A key has up to 128 bytes; "" is none. ctx limits how
// long it waits for the Broker.
func (s *Server) PublishKey(ctx context.Context, key, topic, event, messageID string, data any) (Published, error) {
	if err := checkPublishTopic(topic, s.opts.MaxTopic); err != nil {
		return Published{}, err
	}
	for _, text := range []string{event, messageID} {
		if !utf8.ValidString(text) { // encoding/json would replace it
			return Published{}, fmt.Errorf("%w: %.40q is not valid UTF-8", protocol.ErrBadInput, text)
		}
	}
	b, err := json.Marshal(struct {
		Topic     string `json:"topic"`
		Event     string `json:"event"`
		MessageID string `json:"message_id"`
		Data      any    `json:"data"`
	}{topic, event, messageID, data})
	if err != nil {
		return Published{}, err
	}
	if len(b) > s.opts.MaxFrame {
		return Published{}, fmt.Errorf("%w: %d bytes, the limit is %d", protocol.ErrFrameTooLarge, len(b), s.opts.MaxFrame)
	}
	if _, _, err := parseMessage(b); err != nil { // data may be a json.RawMessage
		return Published{}, err
	}
	return s.publishKey(ctx, topic, key, netip.Addr{}, b)
}

func checkPublishTopic(topic string, maxLen int) error {
	if err := checkTopic(topic, maxLen); err != nil {
		return err
	}
	if topicname.IsPattern(topic) {
		return fmt.Errorf("%w: topic %q is a pattern, which accepts subscriptions only", protocol.ErrBadInput, topic)
	}
	return nil
}

// publishKey publishes message, a JSON object, unless one with the same key was published before.
// address is that of the client, for limits.
func (s *Server) publishKey(ctx context.Context, topic, key string, address netip.Addr, message []byte) (p Published, err error) {
	if key == "" {
		return s.publish(ctx, topic, "", address, message)
	}
	if len(key) > maxKey {
		return p, fmt.Errorf("%w: key of %d bytes, the limit is %d", protocol.ErrBadInput, len(key), maxKey)
	}
	id := keyid.Of(topic, key)
	before, known, err := s.keys.begin(id, address)
	if err != nil {
		return p, fmt.Errorf("%w: %w", errKey, err)
	}
	if known {
		return before, nil
	}
	defer func() { s.keys.end(id, p, err) }()
	return s.publish(ctx, topic, key, address, message)
}

// publish passes message to the broker if that orders the topic. Otherwise it delivers message to
// the subscribers of this server, and passes it to the broker for others.
func (s *Server) publish(ctx context.Context, topic, key string, address netip.Addr, message []byte) (p Published, err error) {
	if s.ordered(topic) {
		return s.publishOrdered(ctx, topic, key, message)
	}
	frame, offset, n := s.fanOut(topic, address, nil, func() []byte { return stampedFrame(message, time.Now()) })
	if b := s.opts.Broker; b != nil {
		if _, err := b.Publish(ctx, topic, "", frame); err != nil {
			s.counters.unsent.Add(1)
			if !errors.Is(err, ErrUnavailable) { // State has reported that
				s.opts.OnError(fmt.Errorf("topic %q: broker: %w", topic, err))
			}
		}
	}
	p.Subscribers = n
	if offset > 0 {
		p.Position = Position{s.epoch, offset}
	}
	return p, nil
}

// checkBrokerFrame returns an error if frame is not a message to topic as subscribers receive it.
func checkBrokerFrame(topic string, frame []byte, maxTopic int) error {
	if err := checkPublishTopic(topic, maxTopic); err != nil {
		return err
	}
	message, ended := bytes.CutSuffix(frame, []byte{serverEnd})
	_, rest, stamped := bytes.Cut(message, []byte("],"))
	if !ended || !stamped || !bytes.HasPrefix(message, []byte(stampPrefix+"[")) {
		return fmt.Errorf("%w: received a frame that is not a message", protocol.ErrBadInput)
	}
	named, _, err := parseMessage(append([]byte("{"), rest...))
	if err == nil && named != topic {
		err = fmt.Errorf("%w: received a message for topic %q", protocol.ErrBadInput, named)
	}
	return err
}

// fanOut delivers one frame to the subscribers of a topic and of the patterns that match it. encode
// returns the frame; it runs while the topic is locked, so that timestamps follow the topic's
// order. at is nil, or a message of an ordered topic, which is ignored if it was delivered before.
// offset is that of the message, 0 if the topic has none.
//
// The topic, then all matching patterns in the order of their creation, stay locked until every
// subscriber has the frame. Otherwise a session that moves from one of them to another could
// receive the frame twice or not at all, and another publisher's message in between.
func (s *Server) fanOut(name string, by netip.Addr, at *Message, encode func() []byte) (frame []byte, offset uint64, n int) {
	t := s.topics.lock(name)
	if t == nil && (at == nil && s.opts.keepsHistory() && s.opts.Retain > 0 || s.patterns.count.Load() > 0) {
		t, _ = s.topics.lockOrCreate(name, nil) // there is no error: name is no pattern
	}
	if t != nil && !s.topics.advance(t, at) {
		s.topics.release(t)
		return nil, 0, 0
	}
	matching := s.patterns.lockMatching(name)
	delivered := deliveredOnce(t, matching)
	frame = encode()
	var evicted []*topic
	if t != nil {
		n = t.deliver(frame, delivered)
		offset, evicted = s.topics.addHistory(t, at, frame, by)
	}
	for _, p := range matching {
		n += p.deliver(frame, delivered)
		p.mu.Unlock()
	}
	if t != nil {
		s.topics.release(t)
		s.topics.evict(evicted)
		s.monitor.start()
	}
	s.counters.published.Add(1)
	s.counters.delivered.Add(uint64(n))
	return frame, offset, n
}

// deliveredOnce returns the set in which deliveries of one message are recorded, nil if no session
// can be reached twice.
func deliveredOnce(t *topic, matching []*topic) map[*subscriber]struct{} {
	lists := 0
	if t != nil && len(t.direct) > 0 {
		lists++
	}
	for _, p := range matching {
		if len(p.direct) > 0 {
			lists++
		}
	}
	if lists < 2 {
		return nil
	}
	return make(map[*subscriber]struct{})
}
