package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Second tokens of subjects.
const (
	stored           = "t" // messages of ordered topics, as publishers send them to the stream; then its token
	ordered          = "o" // the same, as the stream republishes them
	direct           = "c" // messages of other topics
	presenceRequests = "p"
	heartbeats       = "h"
)

func (b *Broker) subject(tokens ...string) string {
	return b.opts.Prefix + "." + strings.Join(tokens, ".")
}

// stream identifies the stream. A stream that is deleted and created again is another one, with
// another token in its subjects, so that messages of the two cannot be confused: requests of a node
// that has not found the new one yet reach no stream, or find no message.
type stream struct {
	name, token, epoch string
	keep               int // messages of each topic, -1 without limit
}

// appendSubject appends the subject of the stored messages of a topic, as [appendTopic].
func (b *Broker) appendSubject(st *stream, topic string) ([]byte, error) {
	return appendTopic([]byte(b.subject(stored, st.token, "")), topic)
}

func (b *Broker) streamName() string { return b.opts.Prefix + "_topics" }

// streamOf returns the identity of a stream, or an error if it does not have what the broker needs.
func (b *Broker) streamOf(info *jetstream.StreamInfo) (*stream, error) {
	prefix := b.subject(ordered, "")
	var token string
	if r := info.Config.RePublish; r != nil {
		token = strings.TrimSuffix(strings.TrimPrefix(r.Destination, prefix), ".>")
		if r.Destination != prefix+token+".>" || r.HeadersOnly {
			token = ""
		}
	}
	if subject := b.subject(stored, token, ">"); token == "" || strings.ContainsAny(token, ".*>") || !info.Config.AllowDirect ||
		!slices.Equal(info.Config.Subjects, []string{subject}) || info.Config.RePublish.Source != subject {
		return nil, fmt.Errorf("the stream %s exists without direct gets, or does not republish %s to %sTOKEN.>",
			info.Config.Name, b.subject(stored, "TOKEN", ">"), prefix)
	}
	return &stream{
		name: info.Config.Name, token: token, keep: int(info.Config.MaxMsgsPerSubject),
		epoch: token + "-" + strconv.FormatInt(info.Created.UnixMicro(), 36),
	}, nil
}

func (b *Broker) streamConfig() jetstream.StreamConfig {
	token := randomToken()
	subject := b.subject(stored, token, ">")
	cfg := jetstream.StreamConfig{
		Name: b.streamName(), Description: "messages of ordered topics", Subjects: []string{subject},
		Replicas: b.opts.Replicas, MaxMsgsPerSubject: int64(b.opts.Keep), MaxAge: b.opts.MaxAge, MaxBytes: b.opts.MaxBytes,
		Duplicates: keyWindow, AllowDirect: true, Discard: jetstream.DiscardOld,
		RePublish: &jetstream.RePublish{Source: subject, Destination: b.subject(ordered, token, ">")},
	}
	if b.opts.Memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	return cfg
}

// info returns the current state of the stream, as its leader knows it. While the servers elect a
// leader, a request is never answered.
func (b *Broker) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, b.streamName())
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// findStream finds the stream, or creates it. If it is another one than before, the broker
// subscribes to its messages.
func (b *Broker) findStream(ctx context.Context) error {
	info, err := b.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) && b.mayCreate() {
		var s jetstream.Stream
		s, err = b.js.CreateStream(ctx, b.streamConfig())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node has created it
			info, err = b.info(ctx)
		} else if err == nil {
			info = s.CachedInfo()
		}
	}
	if err != nil {
		return err
	}
	b.missing = time.Time{}
	found, err := b.streamOf(info)
	if err != nil {
		return err
	}
	before := b.stream.Load()
	switch {
	case before == nil:
	case before.epoch == found.epoch:
		b.former.current()
		return nil
	default:
		if err := b.former.check(found.epoch); err != nil {
			return err
		}
		b.former.replace(before.epoch, found.epoch)
	}
	b.changeStream(before, found)
	return nil
}

// mayCreate reports whether to create the missing stream. A stream that was deleted is created
// again after createDelay: nats-server 2.15 damages a stream that is created while the files of its
// predecessor are still being removed.
func (b *Broker) mayCreate() bool {
	if b.stream.Load() == nil {
		return true
	}
	if b.missing.IsZero() {
		b.missing = time.Now()
	}
	return time.Since(b.missing) >= createDelay
}

// changeStream subscribes to the messages of another stream. Topics whose position in the one
// before is known continue with the first message of the new one.
func (b *Broker) changeStream(before, found *stream) {
	b.interest.mu.Lock()
	b.stream.Store(found)
	var changed []string
	for topic, in := range b.interest.byTopic {
		if in.republished != nil {
			in.republished.Unsubscribe()
		}
		b.subscribeOrdered(topic, in)
		if in.ordered && !in.pattern {
			changed = append(changed, topic)
		}
	}
	b.interest.mu.Unlock()
	for _, sh := range b.shards {
		sh.removePatternOnly()
	}
	if before == nil {
		return
	}
	b.settled.reset()
	b.recheck.Store(true)
	for _, topic := range changed {
		sh := b.shard(topic)
		sh.work.Lock()
		if o := sh.orderOf(topic); o != nil {
			sh.mu.Lock()
			if o.st == nil { // the answer to a request for the history may arrive later
				o.st = before
			}
			sh.mu.Unlock()
			sh.follow(topic, o, found) // no-op if its first message has arrived before
		}
		sh.work.Unlock()
	}
}

// current returns the stream, or an error while the broker is degraded.
func (b *Broker) current() (*stream, error) {
	if err := b.state.get(); err != nil {
		return nil, unavailable(err)
	}
	if s := b.stream.Load(); s != nil {
		return s, nil
	}
	return nil, unavailable(errNoStream)
}
