package natsbroker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/internal/keyid"
	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// Headers of messages of topics that are not ordered, with which receivers count those that are
// lost.
const (
	sourceHeader = "Ranch-Source"
	numberHeader = "Ranch-Number"
)

// maxSent limits the topics whose messages are numbered.
const maxSent = 65536

// sent numbers the messages of each topic that is not ordered.
type sent struct {
	mu      sync.Mutex
	numbers map[string]uint64
	source  string // changes when the numbers start again
}

// next returns the number of the next message of a topic.
func (s *sent) next(topic string) (source string, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.numbers == nil || len(s.numbers) >= maxSent && s.numbers[topic] == 0 {
		s.numbers = make(map[string]uint64)
		s.source = randomToken()
	}
	s.numbers[topic]++
	return s.source, s.numbers[topic]
}

// Publish publishes a message. The error wraps [pubsub.ErrUnavailable] unless the message can never
// be published.
func (b *Broker) Publish(ctx context.Context, topic, key string, frame []byte) (pubsub.Position, error) {
	if b.Ordered(topic) {
		return b.publishOrdered(ctx, topic, key, frame)
	}
	subject, err := appendTopic([]byte(b.subject(direct, "")), topic)
	if err != nil {
		return pubsub.Position{}, err
	}
	m := nats.NewMsg(string(subject))
	m.Data = frame
	source, number := b.sent.next(topic)
	m.Header.Set(sourceHeader, source)
	m.Header.Set(numberHeader, strconv.FormatUint(number, 10))
	if err := b.nc.PublishMsg(m); err != nil {
		return pubsub.Position{}, unavailable(err)
	}
	return pubsub.Position{}, nil
}

func (b *Broker) publishOrdered(ctx context.Context, topic, key string, frame []byte) (p pubsub.Position, err error) {
	encoded, err := appendTopic(nil, topic)
	if err != nil {
		return p, err
	}
	st, err := b.current()
	if err != nil {
		return p, err
	}
	if limit := b.nc.MaxPayload(); int64(len(frame)) > limit {
		return p, fmt.Errorf("%w: %d bytes, the limit of NATS is %d", protocol.ErrFrameTooLarge, len(frame), limit)
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectStream(st.name), jetstream.WithRetryAttempts(0)}
	if key != "" {
		opts = append(opts, jetstream.WithMsgID(messageID(topic, key)))
	}
	m := &nats.Msg{Subject: b.subject(stored, st.token, string(encoded)), Data: frame}
	ack, err := b.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			b.wakeMonitor() // no server answers for the stream
		}
		return p, unavailable(err)
	}
	return pubsub.Position{Epoch: st.epoch, Offset: ack.Sequence}, nil
}

// messageID returns the id by which the stream finds repeated messages, of one length for all keys.
func messageID(topic, key string) string {
	id := keyid.Of(topic, key)
	return base64.RawURLEncoding.EncodeToString(id[:])
}
