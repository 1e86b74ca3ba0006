package natsbroker

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol"
	"goranch/protocol/pubsub"
)

const (
	numShards      = 4
	maxPatternOnly = 16384 // topics of a shard that only patterns match
	maxSources     = 1024  // of messages to a topic that is not ordered
)

// maxQueue limits the messages pending in a shard; further ones are dropped, and fetched later.
var maxQueue = 1024

var seed = maphash.MakeSeed()

// shard delivers the messages of some topics, in a goroutine of its own.
type shard struct {
	b    *Broker
	msgs chan *nats.Msg

	// work is held while a message is delivered and while a gap is filled, which keeps the order.
	// It is acquired before locks of the server.
	work sync.Mutex
	// mu guards the orders. It is acquired while locks of the server are held.
	mu            sync.Mutex
	orders        map[string]*order
	patternOnly   int       // orders of topics that only patterns match
	rewindChecked time.Time // when isRewound last found that the stream was not rewound
}

// order is the delivery state of a topic.
type order struct {
	st         *stream // to which the positions below belong; nil: none is known
	interested bool    // the server is subscribed to the topic itself, not only to patterns
	known      bool    // last is known
	// last is the position up to which all messages of an ordered topic were delivered, or were
	// stored before a client requested the position.
	last uint64
	// anchor is the last position that a client may have: that of a message, or of an answer to a
	// request. There is no message between it and last, which may be the position of another
	// topic's message.
	anchor    uint64
	delivered uint64            // the last message
	stored    string            // when it was stored, by the clock of the server; after a fill, the time of the last filled one
	sources   map[string]uint64 // by source, the number of its last message to a topic that is not ordered
}

func newShard(b *Broker) *shard {
	return &shard{b: b, msgs: make(chan *nats.Msg, maxQueue), orders: make(map[string]*order)}
}

func (b *Broker) shard(topic string) *shard {
	return b.shards[maphash.String(seed, topic)%numShards]
}

func (sh *shard) add(topic string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o := sh.orders[topic]; o == nil {
		sh.orders[topic] = &order{interested: true}
	} else if !o.interested {
		o.interested = true
		sh.patternOnly--
	}
}

// remove ends add. If there are patterns, one of them may match the topic, and copies of delivered
// messages may still arrive by its subscription: the positions of delivered messages are kept.
func (sh *shard) remove(topic string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.orders[topic]
	if o == nil || !o.interested {
		return
	}
	if sh.b.interest.patterns.Load() == 0 {
		delete(sh.orders, topic)
		return
	}
	o.interested = false
	sh.patternOnly++
}

// endPattern marks the positions of topics that only patterns match as unknown: the pattern that
// has ended may have been the only one that matches. Positions of delivered messages are kept,
// because another pattern may deliver a second copy.
func (sh *shard) endPattern() {
	if sh.b.interest.patterns.Load() == 0 {
		sh.removePatternOnly()
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, o := range sh.orders {
		if !o.interested {
			o.known = false
		}
	}
}

// removePatternOnly removes the topics that only patterns match.
func (sh *shard) removePatternOnly() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.removePatternOnlyLocked()
}

func (sh *shard) removePatternOnlyLocked() {
	for topic, o := range sh.orders {
		if !o.interested {
			delete(sh.orders, topic)
		}
	}
	sh.patternOnly = 0
}

// orderOf returns nil if the server is not subscribed to the topic.
func (sh *shard) orderOf(topic string) *order {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := sh.orders[topic]
	if o != nil || sh.b.interest.patterns.Load() == 0 {
		return o
	}
	if sh.patternOnly >= maxPatternOnly {
		sh.removePatternOnlyLocked()
	}
	o = new(order)
	sh.orders[topic] = o
	sh.patternOnly++
	return o
}

// forward passes the messages of patterns to the shards of their topics.
func (b *Broker) forward() {
	for {
		select {
		case m := <-b.patterns:
			_, topic, _ := b.parseSubject(m.Subject)
			select {
			case b.shard(topic).msgs <- m:
			case <-b.ctx.Done():
				return
			}
		case <-b.ctx.Done():
			return
		}
	}
}

func (sh *shard) run() {
	for {
		select {
		case m := <-sh.msgs:
			if dropForTest == nil || !dropForTest(m) {
				sh.handle(m)
			}
		case <-sh.b.ctx.Done():
			return
		}
	}
}

// dropForTest, if set by a test, reports which messages to drop.
var dropForTest func(*nats.Msg) bool

// parseSubject returns the token of the stream, "" for messages of topics that are not ordered.
func (b *Broker) parseSubject(subject string) (token, topic string, ok bool) {
	rest, _ := strings.CutPrefix(subject, b.opts.Prefix+".")
	kind, rest, _ := strings.Cut(rest, ".")
	if kind == ordered {
		token, rest, _ = strings.Cut(rest, ".")
	}
	topic, ok = topicOf(rest)
	return token, topic, ok && (kind == direct) == (token == "")
}

// handle delivers a message.
func (sh *shard) handle(m *nats.Msg) {
	token, topic, ok := sh.b.parseSubject(m.Subject)
	if !ok {
		sh.b.opts.OnError(fmt.Errorf("%w: NATS: invalid subject %.100q", protocol.ErrBadInput, m.Subject))
		return
	}
	sh.work.Lock()
	defer sh.work.Unlock()
	o := sh.orderOf(topic)
	if o == nil {
		return // unsubscribed meanwhile
	}
	if token == "" {
		sh.handleDirect(topic, o, m)
		return
	}
	st := sh.b.stream.Load()
	if st == nil || st.token != token {
		return // of a stream that was deleted
	}
	sh.follow(topic, o, st)
	msg := pubsub.Message{Topic: topic, Frame: m.Data, Position: pubsub.Position{Epoch: st.epoch}}
	var err error
	if msg.Position.Offset, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err == nil {
		msg.Previous, err = strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
	}
	if err != nil {
		sh.b.opts.OnError(fmt.Errorf("%w: NATS: topic %.100q: message without position: %w", protocol.ErrBadInput, topic, err))
		return
	}
	sh.handleOrdered(topic, o, st, msg, m.Header.Get(storedHeader))
}

// handleOrdered delivers a message of an ordered topic, after those that are missing before it.
// sh.work is held.
func (sh *shard) handleOrdered(topic string, o *order, st *stream, m pubsub.Message, storedAt string) {
	if m.Position.Offset <= o.delivered && !sh.isRewound(topic, o, st, m, storedAt) {
		return // a fill has delivered it
	}
	last, known := sh.position(o)
	if known && m.Previous > last {
		sh.b.counters.gaps.Add(1)
		ctx, cancel := context.WithTimeout(sh.b.ctx, fillTimeout)
		err := sh.fill(ctx, topic, o, st, m.Previous)
		cancel()
		if err != nil {
			sh.b.opts.OnError(fmt.Errorf("topic %.100q: messages after %d are missing: %w", topic, last, err))
			sh.b.lost(topic, pubsub.Position{Epoch: st.epoch, Offset: m.Previous})
		}
	}
	if m.Position.Offset > o.delivered {
		sh.deliver(o, m, storedAt)
	}
}

// follow moves o to the stream st. If o belonged to another stream, the topic continues with the
// first message of st. sh.work is held.
func (sh *shard) follow(topic string, o *order, st *stream) {
	sh.mu.Lock()
	before := o.st
	switch before {
	case st:
	case nil:
		o.st = st
	default:
		*o = order{st: st, interested: o.interested, known: o.interested, sources: o.sources}
	}
	interested := o.interested
	sh.mu.Unlock()
	if interested && before != nil && before != st {
		sh.b.lost(topic, pubsub.Position{Epoch: st.epoch})
	}
}

// position returns the position up to which the messages of o are known.
func (sh *shard) position(o *order) (last uint64, known bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return max(o.last, o.delivered), o.known
}

// deliver delivers a message of an ordered topic. sh.work is held.
func (sh *shard) deliver(o *order, m pubsub.Message, storedAt string) {
	sh.mu.Lock()
	o.known, o.delivered, o.anchor, o.stored = true, m.Position.Offset, m.Position.Offset, storedAt
	o.last = max(o.last, m.Position.Offset)
	sh.mu.Unlock()
	sh.b.withReceiver(func(r pubsub.Receiver) { r.Deliver(m) })
}

// handleDirect delivers a message of a topic that is not ordered, and counts those that are missing
// before it. If several patterns match, a message arrives several times. sh.work is held.
func (sh *shard) handleDirect(topic string, o *order, m *nats.Msg) {
	source, number := m.Header.Get(sourceHeader), uint64(0)
	if n, err := strconv.ParseUint(m.Header.Get(numberHeader), 10, 64); err == nil && isNodeName(source) {
		number = n
	}
	if last, ok := o.sources[source]; ok && number > 0 {
		if number <= last {
			return
		}
		sh.b.counters.missed.Add(number - last - 1)
	}
	if number > 0 {
		if o.sources == nil || len(o.sources) >= maxSources {
			o.sources = make(map[string]uint64)
		}
		o.sources[source] = number
	}
	sh.b.withReceiver(func(r pubsub.Receiver) { r.Deliver(pubsub.Message{Topic: topic, Frame: m.Data}) })
}

// lost announces a gap.
func (b *Broker) lost(topic string, from pubsub.Position) {
	b.counters.lost.Add(1)
	b.withReceiver(func(r pubsub.Receiver) { r.Gap(topic, from) })
}
