package pubsub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"goranch/internal/topicname"
	"goranch/protocol"
)

// brokerTimeout limits how long a request of a client waits for the Broker.
const brokerTimeout = 5 * time.Second

// ordered reports whether the Broker orders the messages of a topic. Otherwise this server does,
// for its own clients.
func (s *Server) ordered(topic string) bool {
	b := s.opts.Broker
	return b != nil && b.Ordered(topic) && !topicname.IsPattern(topic)
}

// publishOrdered passes a message to the Broker, which delivers it to this server too.
func (s *Server) publishOrdered(ctx context.Context, topic, key string, message []byte) (p Published, err error) {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	p.Position, err = s.opts.Broker.Publish(ctx, topic, key, stampedFrame(message, time.Now()))
	if err != nil {
		return p, unavailable(err)
	}
	p.Subscribers = s.reach(topic)
	return p, nil
}

// unavailable makes err wrap ErrUnavailable, unless the request itself is at fault.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, protocol.ErrBadInput) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// reach returns the number of subscriptions that match a topic.
func (s *Server) reach(topic string) (n int) {
	n = s.Subscribers(topic)
	for _, p := range s.patterns.lockMatching(topic) {
		n += p.subscribers()
		p.mu.Unlock()
	}
	return n
}

// errNotJoined means that the history that the Broker has returned ends before the history of this
// server begins, or that this server has none yet.
var errNotJoined = errors.New("the history has a gap")

// joinDelays are the times after which the Broker is asked again. It may answer from a copy that
// lags behind.
var joinDelays = [...]time.Duration{0, 0, 20 * time.Millisecond, 100 * time.Millisecond}

// subscribeOrdered subscribes to an ordered topic with since, or with the last messages if since is
// nil. The messages come from this server's history, which has what was delivered since it is
// subscribed, and from the Broker's.
func (h *handler) subscribeOrdered(name string, since *Position, last int) error {
	s := h.server
	release, err := s.topics.pin(name, h.account)
	if err != nil {
		return err
	}
	defer release()
	j := join{since: since, last: last}
	for try, delay := range joinDelays {
		if try > 0 {
			if err := h.sleep(delay); err != nil {
				return err
			}
			if j.answer, err = h.askBroker(name, &j); err != nil {
				return err
			}
		}
		j.final = try == len(joinDelays)-1
		err = h.sub.subscribe(h.peer, name, since != nil, func(t *topic) (after Position, err error) {
			from, recovered, entries, ok := j.entries(t, s.topics.historyOf(t))
			if !ok {
				return after, errNotJoined
			}
			if since == nil {
				return after, h.sendHistory(entries, nil)
			}
			after = from
			if n := len(entries); n > 0 {
				after.Offset = max(after.Offset, entries[n-1].offset)
			}
			return after, h.sendHistory(entries, subscribedFrame(name, from, recovered))
		})
		if !errors.Is(err, errNotJoined) {
			return err
		}
	}
	return fmt.Errorf("%w: %w of %q", ErrUnavailable, err, name)
}

func (h *handler) sleep(d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-h.peer.Context().Done():
		return context.Cause(h.peer.Context())
	}
}

// askBroker returns the Broker's history, which counts towards the rate limit of the client even if
// it is not sent.
func (h *handler) askBroker(name string, j *join) (*Recovery, error) {
	if err := h.allowFrames(1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.peer.Context(), brokerTimeout)
	defer cancel()
	limit, since := h.server.opts.History, Position{}
	if j.since != nil {
		since = *j.since
	} else {
		limit = min(limit, j.last)
	}
	r, err := h.server.opts.Broker.History(ctx, name, since, j.since == nil, limit)
	if err != nil {
		return nil, unavailable(err)
	}
	return &r, nil
}

// join answers a subscribe request to an ordered topic.
type join struct {
	since  *Position // nil: the last messages
	last   int
	answer *Recovery // of the Broker; nil before it was asked
	final  bool      // the last attempt: the history of this server is enough
}

// entries returns what sendHistory sends. ok is false if the Broker has to be asked, again. The
// topic's lock is held.
func (j *join) entries(t *topic, h *history) (from Position, recovered bool, entries []historyEntry, ok bool) {
	known := h.epoch != ""
	if known && j.since == nil && len(h.entries) >= j.last {
		return from, true, h.last(j.last), true
	}
	if known && j.since != nil {
		if from, recovered, entries = h.since(*j.since, h.epoch); recovered {
			return from, true, entries, true
		}
	}
	if r := j.answer; r != nil {
		if !known && t.subscribers() == 0 {
			h.restart(Position{r.From.Epoch, r.last()})
			known = true
		}
		// Otherwise messages up to r.last may still have to be delivered to the subscribers.
		if !known || h.epoch == r.From.Epoch && r.last() >= h.kept() {
			if entries = joined(r, h, known); j.since == nil {
				entries = entries[max(0, len(entries)-j.last):]
			}
			return r.From, r.Recovered, entries, true
		}
	}
	if !known || !j.final {
		return from, false, nil, false
	}
	if j.since == nil {
		return from, true, h.last(j.last), true
	}
	from, recovered, entries = h.since(*j.since, h.epoch)
	return from, recovered, entries, true
}

// joined returns the messages of r, and those that follow in h. If h is known, it leaves out the
// messages of r that will be delivered.
func joined(r *Recovery, h *history, known bool) (entries []historyEntry) {
	previous := r.From.Offset
	for _, m := range r.Messages {
		if known && m.Position.Offset > h.offset {
			return entries
		}
		entries = append(entries, historyEntry{m.Frame, m.Position.Offset, previous})
		previous = m.Position.Offset
	}
	for _, e := range h.entries {
		if e.offset > r.last() {
			entries = append(entries, e)
		}
	}
	return entries
}

// isRefusal reports whether err is a fault of a publish that does not end the connection.
func isRefusal(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, errKey)
}

// errKey is wrapped by the errors of messages with keys that are refused.
var errKey = fmt.Errorf("%w: key", protocol.ErrBadInput)
