package natsbroker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// getRequest is a request of messages of a stream, without a consumer.
type getRequest struct {
	Seq       uint64   `json:"seq,omitempty"`
	NextFor   string   `json:"next_by_subj,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	MaxBytes  int      `json:"max_bytes,omitempty"`
}

// noResults is the answer to a request of the last messages of topics that have none.
const noResults = "No Results"

// Limits of one request.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// get sends a request and calls each with the messages of the answer. pending is the number of
// further messages, and upTo the last message of the stream, if the answer has them.
func (b *Broker) get(ctx context.Context, st *stream, r getRequest, each func(seq uint64, m *nats.Msg) error) (pending, upTo uint64, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return 0, 0, err
	}
	inbox := b.nc.NewRespInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, 0, err
	}
	defer sub.Unsubscribe()
	if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+st.name, inbox, body); err != nil {
		return 0, 0, err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, 0, err
		}
		if status := m.Header.Get("Status"); status != "" {
			switch status {
			case "204": // the end
				pending, _ = strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
				upTo, _ = strconv.ParseUint(m.Header.Get("Nats-UpTo-Sequence"), 10, 64)
				return pending, upTo, nil
			case "404": // no message
				if len(r.MultiLast) == 0 || m.Header.Get("Description") == noResults {
					return 0, 0, nil
				} // otherwise the server has one and cannot read it, for example while it stops
			}
			return 0, 0, fmt.Errorf("direct get: status %s %s", status, m.Header.Get("Description"))
		}
		seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
		if err == nil {
			err = each(seq, m)
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

// fetch returns the messages of a topic after an offset: the last ones, up to limit. Recovered is
// true if none is missing.
func (b *Broker) fetch(ctx context.Context, st *stream, topic string, after uint64, limit int) (pubsub.Recovery, error) {
	r, _, err := b.fetchStored(ctx, st, topic, after, limit)
	return r, err
}

// fetchStored is fetch, and returns also when the last message was stored, by the clock of the
// server.
func (b *Broker) fetchStored(ctx context.Context, st *stream, topic string, after uint64, limit int) (r pubsub.Recovery, at string, err error) {
	subject, err := b.appendSubject(st, topic)
	if err != nil {
		return r, at, err
	}
	r.From = pubsub.Position{Epoch: st.epoch, Offset: after}
	count, previous := 0, after
	for next, more := max(after, 1), true; more; {
		pending, _, err := b.get(ctx, st, getRequest{Seq: next, NextFor: string(subject), Batch: maxBatch, MaxBytes: maxBatchBytes},
			func(seq uint64, m *nats.Msg) error {
				switch {
				case seq < next:
					return fmt.Errorf("direct get: message %d, want one after %d", seq, next)
				case seq == after:
					r.Recovered = true
				default:
					count++
					position := pubsub.Position{Epoch: st.epoch, Offset: seq}
					r.Messages = append(r.Messages, pubsub.Message{Topic: topic, Frame: m.Data, Position: position, Previous: previous})
					previous = seq
				}
				next, at = seq+1, m.Header.Get(storedHeader)
				return nil
			})
		if err != nil {
			return r, at, err
		}
		r.Limit(limit, false)
		more = pending > 0
	}
	if r.Recovered || count > limit {
		return r, at, nil
	}
	return r, at, b.checkComplete(ctx, st, &r, count)
}

// checkComplete sets r.Recovered if the stream has reached r.From, and has removed no message after
// it: it removes the oldest ones, of the whole stream and of a topic at its limit.
func (b *Broker) checkComplete(ctx context.Context, st *stream, r *pubsub.Recovery, count int) error {
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	now, err := b.streamOf(info)
	if err != nil {
		return err
	}
	if now.epoch != st.epoch {
		b.wakeMonitor()
		return errors.New("the stream was deleted")
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	after := r.From.Offset
	r.Recovered = after <= last && after+1 >= first && (st.keep < 0 || count < st.keep)
	if !r.Recovered {
		r.From.Offset = last
		if len(r.Messages) > 0 {
			r.From.Offset = r.Messages[0].Position.Offset - 1
		}
	}
	return nil
}

// History returns the messages of an ordered topic after a position.
func (b *Broker) History(ctx context.Context, topic string, since pubsub.Position, last bool, limit int) (r pubsub.Recovery, err error) {
	st, err := b.current()
	if err != nil {
		return r, err
	}
	if _, err := appendTopic(nil, topic); err != nil {
		return r, err
	}
	if err := b.nc.FlushWithContext(ctx); err != nil { // the subscription has taken effect
		return r, unavailable(err)
	}
	defer func() {
		if err == nil {
			b.shard(topic).setKnown(topic, st, r)
		} else if !errors.Is(err, protocol.ErrBadInput) {
			err = unavailable(err)
		}
	}()
	switch {
	case since == (pubsub.Position{}) && !last:
		info, err := b.info(ctx)
		if err != nil {
			return r, err
		}
		return pubsub.Recovery{From: pubsub.Position{Epoch: st.epoch, Offset: info.State.LastSeq}, Recovered: true}, nil
	case last || since.Epoch != st.epoch:
		r, err = b.fetch(ctx, st, topic, 0, limit)
		r.Recovered = last
		return r, err
	}
	r, err = b.fetch(ctx, st, topic, since.Offset, limit)
	if err == nil && len(r.Messages) == 0 && !r.Recovered {
		var rest pubsub.Recovery
		if rest, err = b.fetch(ctx, st, topic, 0, limit); len(rest.Messages) > 0 {
			rest.Recovered = false
			return rest, err
		}
	}
	return r, err
}

// setKnown records that the messages up to the last one of r are known, so that the next gap is
// found. Copies of the stream may lag behind, so of several answers the one that ends first counts:
// the messages after it are delivered to all.
func (sh *shard) setKnown(topic string, st *stream, r pubsub.Recovery) {
	last := r.From.Offset
	if n := len(r.Messages); n > 0 {
		last = r.Messages[n-1].Position.Offset
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.orders[topic]
	if o == nil || o.st != nil && o.st != st {
		return
	}
	o.st = st
	if !o.known || last < o.anchor {
		o.anchor = last
	}
	if !o.known || last < o.last {
		o.known, o.last = true, last
	}
}
