package pubsub

import (
	"encoding/json"
	"fmt"
	"time"

	"goranch/protocol"
)

// Publish publishes a message to a topic. data is any value that encoding/json can encode. n is the
// number of subscribers of this server to which the message was handed; it does not count those of
// other servers of the Broker. The error is about topic or data; a failed Broker is reported to
// Options.OnError instead.
func (s *Server) Publish(topic, event, messageID string, data any) (n int, err error) {
	b, err := json.Marshal(struct {
		Topic     string `json:"topic"`
		Event     string `json:"event"`
		MessageID string `json:"message_id"`
		Data      any    `json:"data"`
	}{topic, event, messageID, data})
	if err != nil {
		return 0, err
	}
	if len(b) > s.opts.MaxFrame {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", protocol.ErrFrameTooLarge, len(b), s.opts.MaxFrame)
	}
	return s.publish(topic, b)
}

// publish delivers message, a JSON object, to the subscribers of this server and hands it to the
// broker.
func (s *Server) publish(topic string, message []byte) (n int, err error) {
	if err := checkTopic(topic, s.opts.MaxTopic); err != nil {
		return 0, err
	}
	if isPattern(topic) {
		return 0, fmt.Errorf("%w: topic %q is a pattern, which accepts subscriptions only", protocol.ErrBadInput, topic)
	}
	frame, n := s.fanOut(topic, func() []byte { return stampedFrame(message, time.Now()) })
	if b := s.opts.Broker; b != nil {
		if err := b.Publish(topic, frame); err != nil {
			s.opts.OnError(fmt.Errorf("topic %q: broker: %w", topic, err))
		}
	}
	return n, nil
}

// receive delivers a frame that another server of the broker has published.
func (s *Server) receive(topic string, frame []byte) {
	if isPattern(topic) { // publish rejects patterns, so the broker is at fault
		s.opts.OnError(fmt.Errorf("topic %q: broker: received a message for a pattern", topic))
		return
	}
	s.fanOut(topic, func() []byte { return frame })
}

// fanOut delivers one frame to the subscribers of a topic and of the patterns that match it. encode
// returns the frame; it runs while the topic is locked, so that timestamps follow the topic's
// order.
//
// The topic, then all matching patterns in the order of their creation, stay locked until every
// subscriber has the frame. Otherwise a session that moves from one of them to another could
// receive the frame twice or not at all, and another publisher's message in between.
func (s *Server) fanOut(topic string, encode func() []byte) (frame []byte, n int) {
	t := s.topics.lock(topic)
	keepsHistory := s.opts.History > 0 && s.opts.Retain > 0
	if t == nil && (keepsHistory || s.patterns.count.Load() > 0) {
		t, _ = s.topics.lockOrCreate(topic) // nil when there are MaxTopics topics
	}
	matching := s.patterns.lockMatching(topic)
	var delivered map[*subscriber]struct{}
	if len(matching) > 0 {
		delivered = map[*subscriber]struct{}{}
	}
	frame = encode()
	if t != nil {
		n = t.deliver(frame, delivered)
		s.topics.addHistory(t, frame)
	}
	for _, p := range matching {
		n += p.deliver(frame, delivered)
		p.mu.Unlock()
	}
	if t != nil {
		s.topics.release(t)
		s.monitor.start()
	}
	s.counters.published.Add(1)
	s.counters.delivered.Add(uint64(n))
	return frame, n
}

// recent returns the last n messages of a topic's history.
func (s *Server) recent(topic string, n int) [][]byte {
	t := s.topics.lock(topic)
	if t == nil {
		return nil
	}
	defer t.mu.Unlock()
	return append([][]byte(nil), t.history.last(n)...)
}
