package natsbroker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/internal/topicname"
)

// interest holds the topics and patterns that the server is subscribed to.
type interest struct {
	mu       sync.Mutex
	byTopic  map[string]*interestIn
	patterns atomic.Int32 // in byTopic
	recent   []string     // ordered topics that the monitor has to check
	since    time.Time    // when the first of recent was added
}

// interestIn is the interest in a topic or pattern.
type interestIn struct {
	pattern, ordered bool
	republished      *nats.Subscription // to messages of ordered topics; nil before the stream is found
	direct           *nats.Subscription // to messages of other topics
}

func (i *interest) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.byTopic)
}

// Subscribe implements [pubsub.Broker]. A topic whose name is too long for NATS receives no
// messages.
func (b *Broker) Subscribe(topics ...string) {
	b.interest.mu.Lock()
	defer b.interest.mu.Unlock()
	for _, topic := range topics {
		if b.interest.byTopic[topic] != nil {
			continue
		}
		in := &interestIn{pattern: topicname.IsPattern(topic)}
		in.ordered = in.pattern || b.opts.Ordered(topic)
		b.interest.byTopic[topic] = in
		if in.pattern {
			b.interest.patterns.Add(1)
		} else {
			b.shard(topic).add(topic)
		}
		if in.ordered && !in.pattern {
			if len(b.interest.recent) == 0 {
				b.interest.since = time.Now()
			}
			b.interest.recent = append(b.interest.recent, topic)
		}
		b.subscribeOrdered(topic, in)
		if in.pattern || !in.ordered {
			in.direct = b.subscribeSubject(topic, in, direct)
		}
	}
}

// subscribeOrdered subscribes to the messages of ordered topics. b.interest.mu is held.
func (b *Broker) subscribeOrdered(topic string, in *interestIn) {
	if st := b.stream.Load(); st != nil && in.ordered {
		in.republished = b.subscribeSubject(topic, in, ordered, st.token)
	}
}

// subscribeSubject returns nil if the subscription is not possible.
func (b *Broker) subscribeSubject(topic string, in *interestIn, tokens ...string) *nats.Subscription {
	subject, err := appendTopic([]byte(b.subject(append(tokens, "")...)), topic)
	if err != nil {
		b.opts.OnError(fmt.Errorf("topic %.100q: %w", topic, err))
		return nil
	}
	ch := b.patterns
	if !in.pattern {
		ch = b.shard(topic).msgs
	}
	sub, err := b.nc.ChanSubscribe(string(subject), ch)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		b.opts.OnError(fmt.Errorf("topic %.100q: %w", topic, err))
	}
	return sub
}

// Unsubscribe implements [pubsub.Broker].
func (b *Broker) Unsubscribe(topics ...string) {
	b.interest.mu.Lock()
	defer b.interest.mu.Unlock()
	for _, topic := range topics {
		in := b.interest.byTopic[topic]
		if in == nil {
			continue
		}
		delete(b.interest.byTopic, topic)
		for _, sub := range []*nats.Subscription{in.republished, in.direct} {
			if sub != nil {
				sub.Unsubscribe() // fails only if the connection is closed
			}
		}
		if !in.pattern {
			b.shard(topic).remove(topic)
			continue
		}
		b.interest.patterns.Add(-1)
		for _, sh := range b.shards {
			sh.endPattern()
		}
	}
}

// recentTopics returns the topics that were subscribed to since the last call, and forgets them. It
// returns nil until the first of them is older than after.
func (i *interest) recentTopics(after time.Duration) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.recent) == 0 || time.Since(i.since) < after {
		return nil
	}
	due := i.recent
	i.recent = nil
	return due
}

// orderedTopics returns all ordered topics.
func (i *interest) orderedTopics() (topics []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for topic, in := range i.byTopic {
		if in.ordered && !in.pattern {
			topics = append(topics, topic)
		}
	}
	return topics
}
