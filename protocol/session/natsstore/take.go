package natsstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/session"
)

// takeTries is the number of attempts of Take to compare and set a record. An attempt fails if
// another node has changed the record meanwhile.
const takeTries = 10

// Take implements [session.NodeStore].
func (s *store) Take(ctx context.Context, id string, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	if !s.nc.IsConnected() {
		return session.Record{}, fmt.Errorf("session store: no connection to the NATS server (%v)", s.nc.Status())
	}
	select {
	case s.takes <- struct{}{}:
		defer func() { <-s.takes }()
	case <-ctx.Done():
		return session.Record{}, context.Cause(ctx)
	case <-s.ctx.Done():
		return session.Record{}, session.ErrClosed
	}
	var unresponsive owner
	for try := range takeTries {
		r, err := s.tryTake(ctx, id, &unresponsive, ttl, check)
		if !errors.Is(err, errConflict) {
			return r, err
		}
		select {
		case <-time.After(rand.N(time.Millisecond<<min(try, 6)) + time.Millisecond):
		case <-ctx.Done():
			return session.Record{}, context.Cause(ctx)
		}
	}
	return session.Record{}, errConflict
}

// tryTake is one attempt of Take. unresponsive is the owner that has not answered an earlier
// attempt.
func (s *store) tryTake(ctx context.Context, id string, unresponsive *owner, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	key := keyOf(id)
	now, err := s.get(ctx, key)
	if err == nil && now.node != s.id && now.owner() != *unresponsive {
		before := now.owner()
		if !s.askRelease(ctx, now.node, key, now.Generation) {
			*unresponsive = before
		} else if now, err = s.get(ctx, key); err == nil && now.owner() != before {
			return session.Record{}, errConflict // another node has taken it over meanwhile, and must be asked
		}
	}
	if errors.Is(err, errNoRecord) {
		if now.revision > 0 { // a deletion marker
			return session.Record{}, session.ErrUnknown
		}
		return session.Record{}, s.unknown(ctx)
	}
	if err != nil {
		return session.Record{}, err
	}
	r := now.Record
	r.ID = id
	if err := check(&r); err != nil {
		return session.Record{}, err
	}
	r.Generation++
	r.Attached, r.TTL, r.Seen = true, ttl, time.Now().Round(0)
	l := s.claim(key, id, r.Generation)
	revision, err := s.publish(ctx, key, encode(&r, s.id), now.revision, ttl)
	if err != nil {
		s.abandon(key, l)
		if now.owner() == *unresponsive && !answered(err) { // the record may have been written
			s.retryRelease(now.owner(), key, false)
		}
		return session.Record{}, err
	}
	s.setLease(key, id, revision, r.Generation)
	if now.owner() == *unresponsive {
		s.retryRelease(now.owner(), key, true)
	}
	return r, nil
}

// maxReleaseRetries limits the requests to former owners that are repeated at the same time.
const maxReleaseRetries = 4096

// retryRelease repeats the request to a former owner that has not answered, for about two minutes:
// a node whose server was cut off from the others does not notice that it has missed the request.
// If taken is false, the takeover is confirmed first.
func (s *store) retryRelease(former owner, key string, taken bool) {
	r := releaseRetry{former, key}
	if !s.addReleaseRetry(r) {
		return
	}
	started := s.start(func() {
		defer s.removeReleaseRetry(r)
		for delay := s.times.release; delay <= time.Minute; delay *= 2 {
			select {
			case <-time.After(delay):
			case <-s.ctx.Done():
				return
			}
			if !taken {
				now, err := s.get(s.ctx, key)
				taken = err == nil && now.owner() != former || errors.Is(err, errNoRecord) && now.revision > 0
			}
			if taken && s.askRelease(s.ctx, former.node, key, former.generation) {
				return
			}
		}
	})
	if !started {
		s.removeReleaseRetry(r)
	}
}

// releaseRetry identifies a request to a former owner that is repeated.
type releaseRetry struct {
	former owner
	key    string
}

// addReleaseRetry returns false if the request is repeated already, or too many are.
func (s *store) addReleaseRetry(r releaseRetry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.retries[r]; ok || len(s.retries) >= maxReleaseRetries {
		return false
	}
	s.retries[r] = struct{}{}
	return true
}

func (s *store) removeReleaseRetry(r releaseRetry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.retries, r)
}

func (s *store) requestSubject(node string) string {
	return "goranch.sessions." + s.opts.Bucket + "." + node[len(node)-nodeRandom:]
}

// nodeRandom is the length of the random part of a node's identity.
const nodeRandom = 26

// askRelease asks the node to save and release a session that it has by that generation. It reports
// whether the node has done so.
func (s *store) askRelease(ctx context.Context, node, key string, generation uint64) bool {
	if len(node) < nodeRandom {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.times.release)
	defer cancel()
	_, err := s.nc.RequestWithContext(ctx, s.requestSubject(node), []byte(key+" "+strconv.FormatUint(generation, 10)))
	return err == nil
}

// serveRelease serves the request of another node to release a session. It answers at once if this
// node does not have the session, or has taken it over again after the request: a node that was
// paused serves old requests when it runs again.
func (s *store) serveRelease(msg *nats.Msg) {
	key, text, _ := strings.Cut(string(msg.Data), " ")
	generation, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return // not from a node
	}
	if dropped, _ := s.requests.Dropped(); dropped > s.dropped { // this node has received requests too slowly
		s.dropped = dropped
		select {
		case s.missed <- struct{}{}:
		default:
		}
	}
	l, now := s.lease(key)
	if l == nil || max(now.generation, now.claimed) > generation {
		msg.Respond(nil)
		return
	}
	s.releases <- struct{}{} // limits the goroutines
	started := s.start(func() {
		defer func() { <-s.releases }()
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
		defer cancel()
		// An error is that of Save, which the manager reports. The session is saved later then, and
		// the lease says what that may replace.
		s.release(key, l, s.node.Release(ctx, now.id) == nil)
		msg.Respond(nil)
	})
	if !started {
		<-s.releases
	}
}

// start runs f in a goroutine that Close waits for. It returns false after Close.
func (s *store) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.tasks.Go(f)
	return true
}
