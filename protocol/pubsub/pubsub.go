// Package pubsub is a topic server: what is published to a topic goes to all who have subscribed
// to it. It speaks the protocol of hotwheels' Janus, byte for byte, and some more.
//
//	s, err := pubsub.NewServer(pubsub.Options{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close(context.Background())
//	_, err = ranch.StartListener("topics", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:8081"}, s)
//
// Each client has a session, which outlives its connection: what is published meanwhile is kept
// for it, within bounds, and delivered when it attaches again with its token.
//
// # Delivery
//
// A message is encoded once, and goes to a topic's subscribers, and to those of patterns that fit, in the
// order in which the topic has received it, never twice to the same one. There is no order between different
// topics; and between the servers of a Broker, only that of each publisher. A client that is attached and keeps up gets each
// one. One that does not keep up is closed, or loses messages, by Options.Queue; it is told how
// many. What was on its way when a connection broke may be lost: TCP does not say what has arrived.
package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// Server is a protocol that serves topics. It may serve several listeners. Its methods may be
// called from any goroutine.
type Server struct {
	opts     Options
	protocol protocol.Protocol
	sessions *session.Manager[state]
	topics   topics
	patterns patterns
	crowd    crowd
	count    counters
	stop     func() // receiving from the broker
}

// counters are those of Stats.
type counters struct{ published, delivered, dropped, refused, slow, silent atomic.Uint64 }

// Stats are counters since the server was made, and what is.
type Stats struct {
	Clients   int    // connections
	Topics    int    // patterns and those that are kept for their history included
	Published uint64 // messages from clients, from the program and from the Broker
	Delivered uint64 // how often one of them was handed to a subscriber, or kept for one
	Dropped   uint64 // how often not, because a client did not keep up
	Refused   uint64 // clients closed for what they have sent
	Slow      uint64 // clients closed because they did not keep up
	Silent    uint64 // clients closed because they have sent nothing for too long
	Sessions  session.Stats
}

// NewServer returns a server. The error joins all faults of the options, or is that of the
// Store or the Broker.
func NewServer(opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts.withDefaults(), stop: func() {}}
	s.topics.s, s.topics.seed = s, maphash.MakeSeed()
	s.crowd.s = s
	s.opts.Queue.Frames = s.lost
	s.protocol = protocol.Handle(func() protocol.Handler { return &handler{s: s} },
		protocol.Options{Codec: codec{s.opts.MaxFrame}, Queue: s.opts.Queue})
	var err error
	s.sessions, err = session.New(session.Options[state]{
		TTL: s.opts.SessionTTL, Max: s.opts.MaxSessions, MakeRoom: true, MaxOutput: s.opts.MaxBuffered, Store: s.opts.Store,
		OnError: s.opts.OnError, OnEnd: sessionEnded,
	})
	if err != nil {
		return nil, fmt.Errorf("topic server: %w", err)
	}
	if b := s.opts.Broker; b != nil {
		if s.stop, err = b.Receive(s.received); err != nil {
			return nil, errors.Join(fmt.Errorf("topic server: broker: %w", err), s.sessions.Close(context.Background()))
		}
	}
	return s, nil
}

// lost counts the messages in b, which a queue has dropped, and returns of how many the client has to be told:
// notices that were dropped have to be repeated.
func (s *Server) lost(b []byte) int {
	messages, untold := lostWith(b)
	s.count.dropped.Add(uint64(messages))
	return messages + untold
}

func sessionEnded(one *session.Session[state]) {
	var live *subscriber
	one.View(func(st *state) { live = st.live })
	if live != nil {
		live.end()
	}
}

// Serve runs one connection.
func (s *Server) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap makes s a [protocol.Unwrapper]: its idle connections are parked.
func (s *Server) Unwrap() protocol.Protocol { return s.protocol }

// Close saves the sessions and ends what runs in the background. The listeners have to be stopped
// before. The error is the Store's, or the cause of ctx.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	s.crowd.close()
	return s.sessions.Close(ctx)
}

// Publish publishes a message to a topic, and returns to how many subscribers of this server it
// is under way. data is anything that encoding/json can encode. The error is about topic or data.
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
		return 0, fmt.Errorf("%w: %d bytes: allowed are %d", protocol.ErrFrameTooLarge, len(b), s.opts.MaxFrame)
	}
	return s.publish(topic, b)
}

// publish spreads a message, a JSON object, here and by the broker.
func (s *Server) publish(topic string, message []byte) (n int, err error) {
	if err := checkTopic(topic, s.opts.MaxTopic); err != nil {
		return 0, err
	}
	if isPattern(topic) {
		return 0, fmt.Errorf("%w: topic %q: a pattern can be subscribed to only", protocol.ErrBadInput, topic)
	}
	frame, n := s.spread(topic, func() []byte { return stamped(message, time.Now()) })
	if b := s.opts.Broker; b != nil {
		if err := b.Publish(topic, frame); err != nil {
			s.opts.OnError(fmt.Errorf("topic %q: broker: %w", topic, err))
		}
	}
	return n, nil
}

// received is called with what others have published.
func (s *Server) received(topic string, frame []byte) {
	if isPattern(topic) { // no server of ours publishes to one
		s.opts.OnError(fmt.Errorf("topic %q: broker: a message to a pattern", topic))
		return
	}
	s.spread(topic, func() []byte { return frame })
}

// spread gives a frame, stamped while the topic is locked, to all who have subscribed here. The topic and all
// patterns that fit are locked until everybody has it: else who changes from one of them to another would
// get it twice or not at all, and another publisher could come in between. Names are locked before patterns,
// and patterns in the order in which they were made.
func (s *Server) spread(topic string, stamp func() []byte) (frame []byte, n int) {
	t := s.topics.get(topic)
	if t == nil && (s.opts.History > 0 && s.opts.Retain > 0 || s.patterns.count.Load() > 0) {
		t, _ = s.topics.make(topic) // nil: there are too many to remember more
	}
	fit := s.patterns.lock(topic)
	var seen map[*subscriber]struct{}
	if len(fit) > 0 {
		seen = map[*subscriber]struct{}{}
	}
	frame = stamp()
	if t != nil {
		n = t.send(frame, seen)
		s.topics.remember(t, frame)
	}
	for _, p := range fit {
		n += p.send(frame, seen)
		p.mu.Unlock()
	}
	if t != nil {
		s.topics.release(t)
		s.crowd.wake()
	}
	s.count.published.Add(1)
	s.count.delivered.Add(uint64(n))
	return frame, n
}

// past returns the last messages of a topic.
func (s *Server) past(topic string, n int) [][]byte {
	t := s.topics.get(topic)
	if t == nil {
		return nil
	}
	defer t.mu.Unlock()
	return append([][]byte(nil), t.past.last(n)...)
}

// Count returns how many sessions have subscribed to a topic, or to a pattern, by this name,
// those that are away included.
func (s *Server) Count(topic string) int {
	t := s.topics.get(topic)
	if t == nil {
		return 0
	}
	defer t.mu.Unlock()
	return t.members()
}

// Stats returns what has happened so far.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{
		Clients: int(s.crowd.count.Load()), Topics: int(s.topics.count.Load()),
		Published: c.published.Load(), Delivered: c.delivered.Load(), Dropped: c.dropped.Load(),
		Refused: c.refused.Load(), Slow: c.slow.Load(), Silent: c.silent.Load(), Sessions: s.sessions.Stats(),
	}
}

// Sessions returns all sessions, in no order.
func (s *Server) Sessions() []session.Info { return s.sessions.List() }

// EndSession ends a session, and closes its connection if it has one. The error is
// [session.ErrUnknown] if there is none.
func (s *Server) EndSession(token string) error { return s.sessions.End(token) }
