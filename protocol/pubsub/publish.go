package pubsub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"goranch/protocol"
)

// Publish publishes a message to a topic. data is any value that encoding/json can encode. n is the
// number of subscribers of this server to which the message was handed; it does not count those of
// other servers of the Broker. The error is about the arguments, which must be valid UTF-8; a failed
// Broker is reported to Options.OnError instead.
func (s *Server) Publish(topic, event, messageID string, data any) (n int, err error) {
	if err := checkPublishTopic(topic, s.opts.MaxTopic); err != nil {
		return 0, err
	}
	for _, text := range []string{event, messageID} {
		if !utf8.ValidString(text) { // encoding/json would replace it
			return 0, fmt.Errorf("%w: %.40q is not valid UTF-8", protocol.ErrBadInput, text)
		}
	}
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
	if _, _, err := parseMessage(b); err != nil { // data may be a json.RawMessage
		return 0, err
	}
	return s.publish(topic, b, netip.Addr{}), nil
}

func checkPublishTopic(topic string, maxLen int) error {
	if err := checkTopic(topic, maxLen); err != nil {
		return err
	}
	if isPattern(topic) {
		return fmt.Errorf("%w: topic %q is a pattern, which accepts subscriptions only", protocol.ErrBadInput, topic)
	}
	return nil
}

// publish delivers message, a JSON object of a client with that address, to the subscribers of this
// server and hands it to the broker.
func (s *Server) publish(topic string, message []byte, by netip.Addr) (n int) {
	frame, n := s.fanOut(topic, by, func() []byte { return stampedFrame(message, time.Now()) })
	if b := s.opts.Broker; b != nil {
		if err := b.Publish(topic, frame); err != nil {
			s.opts.OnError(fmt.Errorf("topic %q: broker: %w", topic, err))
		}
	}
	return n
}

// receive delivers a frame that another server of the broker has published. It checks the frame as
// if a client had sent it, because the other server may be of another version.
func (s *Server) receive(topic string, frame []byte) {
	if err := checkBrokerFrame(topic, frame, s.opts.MaxTopic); err != nil {
		s.opts.OnError(fmt.Errorf("topic %q: broker: %w", topic, err))
		return
	}
	s.fanOut(topic, netip.Addr{}, func() []byte { return frame })
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
// order.
//
// The topic, then all matching patterns in the order of their creation, stay locked until every
// subscriber has the frame. Otherwise a session that moves from one of them to another could
// receive the frame twice or not at all, and another publisher's message in between.
func (s *Server) fanOut(name string, by netip.Addr, encode func() []byte) (frame []byte, n int) {
	t := s.topics.lock(name)
	if t == nil && (s.opts.keepsHistory() && s.opts.Retain > 0 || s.patterns.count.Load() > 0) {
		t, _ = s.topics.lockOrCreate(name, nil) // there is no error: name is no pattern
	}
	matching := s.patterns.lockMatching(name)
	delivered := deliveredOnce(t, matching)
	frame = encode()
	var victims []*topic
	if t != nil {
		if s.opts.keepsHistory() {
			s.topics.historyOf(t).advance()
		}
		n = t.deliver(frame, delivered)
		victims = s.topics.addHistory(t, frame, by)
	}
	for _, p := range matching {
		n += p.deliver(frame, delivered)
		p.mu.Unlock()
	}
	if t != nil {
		s.topics.release(t)
		s.topics.evict(victims)
		s.monitor.start()
	}
	s.counters.published.Add(1)
	s.counters.delivered.Add(uint64(n))
	return frame, n
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
