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

// takeTries is how often Take compares and sets a record that several nodes want. Each attempt that
// fails is one that another node has won.
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
	var silent owner
	for try := range takeTries {
		r, err := s.tryTake(ctx, id, &silent, ttl, check)
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

// tryTake is one attempt of Take. silent is the one that has not answered an earlier attempt.
func (s *store) tryTake(ctx context.Context, id string, silent *owner, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	key := keyOf(id)
	now, err := s.get(ctx, key)
	if err == nil && now.node != s.id && now.owner() != *silent {
		before := now.owner()
		if !s.askRelease(ctx, now.node, key, now.Generation) {
			*silent = before
		} else if now, err = s.get(ctx, key); err == nil && now.owner() != before {
			return session.Record{}, errConflict // it was taken over since, and the node is to be asked
		}
	}
	if errors.Is(err, errGone) {
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
		if now.owner() == *silent && !answered(err) { // the record may have been written
			s.remind(now.owner(), key, false)
		}
		return session.Record{}, err
	}
	s.hold(key, id, revision, r.Generation)
	if now.owner() == *silent {
		s.remind(now.owner(), key, true)
	}
	return r, nil
}

// maxReminders limits the former owners that are being reminded.
const maxReminders = 4096

// remind asks a former owner that has not answered again, for about two minutes: a node whose
// server was cut off from the others does not notice that it has missed the request. If it is not
// known whether the record was taken over, that is found out first.
func (s *store) remind(former owner, key string, taken bool) {
	r := reminder{former, key}
	if !s.addReminder(r) {
		return
	}
	started := s.start(func() {
		defer s.removeReminder(r)
		for delay := s.times.release; delay <= time.Minute; delay *= 2 {
			select {
			case <-time.After(delay):
			case <-s.ctx.Done():
				return
			}
			if !taken {
				now, err := s.get(s.ctx, key)
				taken = err == nil && now.owner() != former || errors.Is(err, errGone) && now.revision > 0
			}
			if taken && s.askRelease(s.ctx, former.node, key, former.generation) {
				return
			}
		}
	})
	if !started {
		s.removeReminder(r)
	}
}

// reminder is a former owner of a session that is being reminded.
type reminder struct {
	former owner
	key    string
}

// addReminder returns false if there is such a reminder, or are too many.
func (s *store) addReminder(r reminder) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.reminders[r]; ok || len(s.reminders) >= maxReminders {
		return false
	}
	s.reminders[r] = struct{}{}
	return true
}

func (s *store) removeReminder(r reminder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reminders, r)
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
// node does not have the session, or has taken it over again after the request: a node that was paused
// serves old requests when it runs again.
func (s *store) serveRelease(msg *nats.Msg) {
	key, text, _ := strings.Cut(string(msg.Data), " ")
	generation, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return // not from a node
	}
	if dropped, _ := s.requests.Dropped(); dropped > s.dropped { // requests, by a slow node
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
	s.releases <- struct{}{} // limits what the next line starts
	started := s.start(func() {
		defer func() { <-s.releases }()
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
		defer cancel()
		// An error is that of Save, which the manager reports. The session is saved later then, and the
		// lease says what that may replace.
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
