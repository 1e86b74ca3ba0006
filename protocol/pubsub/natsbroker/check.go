package natsbroker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
)

// fillAttempts are the delays of the attempts to fill a gap; one fails if a copy of the stream
// answers that lags behind.
var fillAttempts = [...]time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond}

// fill delivers the messages of a topic that are missing, at least up to an offset. After an error
// the caller announces that they are lost. sh.work is held.
func (sh *shard) fill(ctx context.Context, topic string, o *order, st *stream, upTo uint64) error {
	for _, delay := range fillAttempts {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		last, _ := sh.position(o)
		if last >= upTo {
			return nil
		}
		r, at, err := sh.b.fetchStored(ctx, st, topic, last, max(st.keep, 0)+maxBatch)
		if err != nil {
			return err
		}
		if n := len(r.Messages); n == 0 || r.Messages[n-1].Position.Offset < upTo {
			continue
		}
		if r.Recovered { // clients compare Previous with the last offset that they have
			r.Messages[0].Previous = sh.anchorOf(o)
		} else {
			sh.b.lost(topic, r.From)
		}
		for _, m := range r.Messages {
			sh.b.counters.filled.Add(1)
			sh.deliver(o, m, at)
		}
	}
	if last, _ := sh.position(o); last < upTo {
		return fmt.Errorf("the stream has no message %d of the topic", upTo)
	}
	return nil
}

// check compares the last messages of topics with what was delivered, and fills the gaps.
func (b *Broker) check(ctx context.Context, topics []string) error {
	st, err := b.current()
	if err != nil || len(topics) == 0 {
		return err
	}
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	c := checked{first: info.State.FirstSeq, settled: b.settled.upTo.Load()}
	for batch := range slices.Chunk(topics, maxBatch) {
		if err := b.checkBatch(ctx, st, batch, c); err != nil {
			return err
		}
	}
	return nil
}

// checked is the state of the stream at the time of a check.
type checked struct {
	first   uint64 // the first message that is kept
	upTo    uint64 // of the copy that has answered, the last message; 0 if it has none of the topics
	last    uint64 // the last message of the topic; 0 if none is kept
	settled uint64 // the last message checkInterval ago, which all copies have
}

func (b *Broker) checkBatch(ctx context.Context, st *stream, topics []string, c checked) error {
	lastOf := make(map[string]uint64)
	var subjects, names []string
	for _, topic := range topics {
		if s, err := b.appendSubject(st, topic); err == nil {
			subjects, names = append(subjects, string(s)), append(names, topic)
		}
	}
	pending, upTo, err := b.get(ctx, st, getRequest{MultiLast: subjects, Batch: maxBatch}, func(seq uint64, m *nats.Msg) error {
		lastOf[m.Header.Get("Nats-Subject")] = seq
		return nil
	})
	if err != nil {
		return err
	}
	c.upTo = upTo
	for i, topic := range names {
		if c.last = lastOf[subjects[i]]; c.last == 0 && pending > 0 {
			continue // the answer was too long
		}
		if err := b.shard(topic).check(ctx, topic, st, c); err != nil {
			return err
		}
	}
	return nil
}

// check fills the gap at the end of a topic.
func (sh *shard) check(ctx context.Context, topic string, st *stream, c checked) error {
	sh.work.Lock()
	defer sh.work.Unlock()
	o := sh.interestedIn(topic)
	if o == nil || sh.b.stream.Load() != st {
		return nil
	}
	sh.follow(topic, o, st)
	last, known := sh.position(o)
	switch {
	case !known: // no client has requested the position
		return nil
	case c.last > last:
		sh.b.counters.gaps.Add(1)
		return sh.fill(ctx, topic, o, st, c.last)
	case c.last == 0 && last+1 < c.first: // the stream has removed the messages
		sh.advance(o, c.first-1)
		sh.b.lost(topic, pubsub.Position{Epoch: st.epoch, Offset: c.first - 1})
	case c.upTo > 0:
		sh.advance(o, c.upTo)
	default:
		sh.advance(o, c.settled)
	}
	return nil
}

// advance records that no message up to an offset is missing.
func (sh *shard) advance(o *order, to uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o.last = max(o.last, to)
}

func (sh *shard) anchorOf(o *order) uint64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return o.anchor
}

// interestedIn returns nil if the server is not subscribed to the topic itself.
func (sh *shard) interestedIn(topic string) *order {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o := sh.orders[topic]; o != nil && o.interested {
		return o
	}
	return nil
}
