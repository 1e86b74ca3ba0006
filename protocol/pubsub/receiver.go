package pubsub

import (
	"fmt"
	"net/netip"

	"goranch/protocol"
)

// receiver is a Server as its Broker sees it.
type receiver Server

// Deliver checks a message as if a client had sent it, because the other server may be of another
// version.
func (r *receiver) Deliver(m Message) {
	s := (*Server)(r)
	err := checkBrokerFrame(m.Topic, m.Frame, s.opts.MaxTopic)
	ordered := s.ordered(m.Topic)
	if err == nil && ordered != (m.Position != (Position{})) {
		err = fmt.Errorf("%w: received a message of an ordered topic without a position, or the reverse", protocol.ErrBadInput)
	}
	if err != nil {
		s.opts.OnError(fmt.Errorf("topic %q: broker: %w", m.Topic, err))
		return
	}
	at := &m
	if !ordered {
		at = nil
	}
	s.fanOut(m.Topic, netip.Addr{}, at, func() []byte { return m.Frame })
}

// Gap notifies the subscriptions with positions that messages are missing.
func (r *receiver) Gap(topic string, from Position) {
	s := (*Server)(r)
	s.counters.gaps.Add(1)
	t := s.topics.lock(topic)
	if t == nil {
		return
	}
	if t.counted && s.opts.keepsHistory() {
		s.topics.historyOf(t).restart(from)
	}
	frame := append(subscribedFrame(topic, from, false), serverEnd)
	for _, sn := range t.direct {
		if sn.numbered && !t.history.hasPassed(sn, from) {
			sn.sub.session.Output(frame)
		}
	}
	s.topics.release(t)
}

func (r *receiver) State(err error) {
	if err == nil {
		r.degraded.Store(nil)
		return
	}
	r.degraded.Store(&err)
}

func (r *receiver) Subscribers(topic string) int { return (*Server)(r).Subscribers(topic) }

// Degraded returns why the Broker is degraded, or nil. Topics that the Broker does not order
// continue to work within this server; publishes to others fail with [ErrUnavailable].
func (s *Server) Degraded() error {
	if err := s.degraded.Load(); err != nil {
		return *err
	}
	return nil
}
