package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The bucket is a stream with the names of a NATS key-value bucket, so that the tools for these
// show it. Unlike a bucket of nats.go, it does not allow direct gets: any replica answers them, and
// one that lags behind does not have a session that was just created.

const (
	operation = "KV-Operation" // header of deletion markers, as in any NATS key-value bucket
	// markerTTL is how long a deletion marker is kept. A node that was cut off finds by the marker
	// that the session has ended.
	markerTTL = time.Hour
)

// openBucket returns the bucket; it creates it if it does not exist.
func (s *store) openBucket(ctx context.Context) (jetstream.Stream, error) {
	name := s.bucketName()
	stream, err := s.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "sessions of goranch", Subjects: []string{s.subject(">")},
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true,
			MaxMsgs: -1, MaxConsumers: -1, MaxBytes: s.opts.MaxBytes, MaxMsgSize: -1, Replicas: s.opts.Replicas,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node, with other Options
			stream, err = s.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, err
	}
	if c := stream.CachedInfo().Config; c.MaxMsgsPerSubject != 1 || !c.AllowMsgTTL || c.AllowDirect {
		return nil, fmt.Errorf("%w: bucket %s: got history %d, TTL per key %v, direct gets %v, want 1, true, false",
			ErrFormat, s.opts.Bucket, c.MaxMsgsPerSubject, c.AllowMsgTTL, c.AllowDirect)
	}
	return stream, nil
}

func (s *store) subject(key string) string { return "$KV." + s.opts.Bucket + "." + key }

// errNoRecord means that the bucket has no record; it may have a deletion marker.
var errNoRecord = errors.New("no record")

// get returns the record under key as the leader of the bucket has it. After errNoRecord, the
// revision is that of a deletion marker; 0 is none.
func (s *store) get(ctx context.Context, key string) (stored, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return stored{}, errNoRecord
	}
	if err != nil {
		return stored{}, s.explain(err)
	}
	if msg.Header.Get(operation) != "" {
		return stored{revision: msg.Sequence}, errNoRecord
	}
	r, err := decode(msg.Data)
	r.revision = msg.Sequence
	return r, err
}

// errConflict means that another node, or this one, has changed the record.
var errConflict = errors.New("the record has changed")

// publish writes a record, or with a nil value a deletion marker, if the record has that revision;
// 0 is a record that does not exist. It returns the new revision.
func (s *store) publish(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	msg := &nats.Msg{Subject: s.subject(key), Data: value, Header: nats.Header{}}
	if value == nil {
		msg.Header.Set(operation, "DEL")
		ttl = markerTTL
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision)}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL((ttl + time.Second).Truncate(time.Second))) // the server counts seconds
	}
	ack, err := s.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return 0, s.explain(err)
	}
	return ack.Sequence, nil
}

// explain adds the cause to err if nats.go has recorded it. It schedules a check of the bucket if
// err says that there is none.
func (s *store) explain(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		s.checkSoon()
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return errConflict
		}
		return err
	}
	// A request that the server does not permit is not answered; the reason arrives on its own.
	if last := s.nc.LastError(); errors.Is(err, context.DeadlineExceeded) && errors.Is(last, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: %w", last, err)
	}
	return err
}

// answered reports whether the server has answered with err for one record. Others can still be
// saved then.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) || errors.Is(err, errConflict) || errors.Is(err, ErrFormat)
}
