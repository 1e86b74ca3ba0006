package natsbroker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"goranch/protocol/pubsub"
)

var (
	errConnecting = errors.New("not connected to NATS")
	errNoStream   = errors.New("the stream is not known yet")
)

// state holds the reasons why the broker is degraded.
type state struct {
	mu                 sync.Mutex
	connection, stream error
}

func (s *state) get() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason()
}

func (s *state) reason() error {
	if s.connection != nil {
		return s.connection
	}
	return s.stream
}

// setState changes one of the reasons. It notifies the server when the broker becomes degraded, and
// when it recovers.
func (b *Broker) setState(reason *error, err error) {
	b.receiver.mu.RLock()
	defer b.receiver.mu.RUnlock()
	s := &b.state
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.reason()
	*reason = err
	after := s.reason()
	if r := b.receiver.r; r != nil && (before == nil) != (after == nil) {
		r.State(after)
	}
}

// Degraded returns why the broker is degraded, or nil. A degraded broker refuses to publish to
// ordered topics.
func (b *Broker) Degraded() error { return b.state.get() }

func unavailable(err error) error { return fmt.Errorf("%w: %w", pubsub.ErrUnavailable, err) }

// reconnectDelay returns the time before an attempt to reconnect; attempts counts rounds over all
// servers. Half of it is random, so that the nodes do not connect at the same time.
func reconnectDelay(attempts int) time.Duration {
	d := min(100*time.Millisecond<<min(attempts, 6), 4*time.Second)
	return d/2 + rand.N(d/2)
}
