package natsstore

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
)

// times are those of checks and requests of other nodes; tests change them.
type times struct {
	// release is how long Take waits for the node that has the session. If that node has ended, the
	// server answers at once that there is no subscriber.
	release time.Duration
	check   time.Duration // between checks of the bucket
	// create is the time before a bucket that was deleted is created again: nats-server 2.15
	// damages a stream that is created while it still removes the files of the one before.
	create time.Duration
	// settle is how long other nodes may need to find a new bucket and to save their sessions in
	// it.
	settle time.Duration
}

var defaultTimes = times{release: time.Second, check: 5 * time.Second, create: time.Second, settle: 30 * time.Second}

// bucket identifies the bucket that this node uses.
type bucket struct {
	created time.Time // by the clock of the server; identifies it
	renewed time.Time // when this node has found that it is another one than before; zero: never
}

func (s *store) bucketName() string { return "KV_" + s.opts.Bucket }

// checkSoon makes the goroutine of watch check the bucket.
func (s *store) checkSoon() {
	select {
	case s.recheck <- struct{}{}:
	default:
	}
}

// checkBucket creates the bucket again if it was deleted, which may happen while no session of this
// node changes, and saves all sessions if the bucket is another one than before. missing is since
// when there is no bucket; it returns that, zero if there is one or if this is not known.
func (s *store) checkBucket(missing time.Time) time.Time {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.bucketName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if missing.IsZero() {
			missing = time.Now()
		}
		if time.Since(missing) < s.times.create {
			return missing
		}
		stream, err = s.openBucket(ctx)
	}
	if err == nil && s.isNew(stream.CachedInfo().Created) {
		s.node.Resave()
	}
	return time.Time{}
}

// isNew reports whether the bucket that was created at that time is another one than before.
func (s *store) isNew(created time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if created.Equal(s.bucket.created) {
		return false
	}
	s.bucket = bucket{created, time.Now()}
	return true
}

var errRenewed = errors.New("the session bucket was deleted and created again, and the session may not be saved in it yet")

// unknown returns the error of Take for an id that has no record: ErrUnknown, unless another node
// may have the session, and has not saved it yet in a bucket that has been created again.
func (s *store) unknown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.bucketName())
	if err != nil {
		return s.explain(err)
	}
	s.mu.Lock()
	known := s.bucket
	s.mu.Unlock()
	if !stream.CachedInfo().Created.Equal(known.created) {
		s.checkSoon()
		return errRenewed
	}
	if !known.renewed.IsZero() && time.Since(known.renewed) < s.times.settle {
		return errRenewed
	}
	return session.ErrUnknown
}
