package natsstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
)

const (
	maxWrites = 64 // concurrent requests of one Save
	maxTries  = 4  // of one compare-and-set, each after reading the record again
)

// Save writes and removes each record on its own. It stops at the first request that the server does
// not answer, and continues after one that it refuses. The error is one of them.
func (s *store) Save(put []session.Record, remove []string) error {
	if s.ctx.Err() != nil {
		return errClosed
	}
	if !s.nc.IsConnected() { // at once, instead of at the timeout
		return fmt.Errorf("session store: no connection to the NATS server (%v)", s.nc.Status())
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed int
		first  error
	)
	slots := make(chan struct{}, maxWrites)
	for i := range len(put) + len(remove) {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			err := s.saveOne(ctx, put, remove, i)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failed++; first == nil {
				first = err
			}
			if !answered(err) {
				cancel()
			}
		})
	}
	wg.Wait()
	if first == nil {
		return context.Cause(s.ctx)
	}
	s.restore(first)
	return fmt.Errorf("session store: %d of %d sessions: %w", failed, len(put)+len(remove), first)
}

func (s *store) saveOne(ctx context.Context, put []session.Record, remove []string, i int) error {
	if i < len(put) {
		return s.put(ctx, &put[i])
	}
	return s.remove(ctx, remove[i-len(put)])
}

// restore creates the bucket again if it was deleted. The sessions of all nodes are saved into it when
// they change or are saved again.
func (s *store) restore(err error) {
	if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
	defer cancel()
	if _, err := s.js.Stream(ctx, "KV_"+s.opts.Bucket); errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err := s.openBucket(ctx); err == nil {
			s.node.Resave()
		}
	}
}

// put writes r unless another node or a later generation has the session.
func (s *store) put(ctx context.Context, r *session.Record) error {
	key := keyOf(r.ID)
	l := s.lease(key)
	if l.generation > r.Generation {
		return nil // this node has taken the session again since
	}
	known, revision, value := l.generation > 0, l.revision, encode(r, s.id)
	for range maxTries {
		written, err := s.publish(ctx, key, value, revision, r.TTL)
		if err == nil {
			s.hold(key, r.ID, written, r.Generation)
			return nil
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		now, err := s.get(ctx, key)
		switch {
		case errors.Is(err, errGone) && known && now.revision > 0:
			s.lose(key, r, session.ErrUnknown)
			return nil
		case errors.Is(err, errGone): // expired, or the bucket is a new one
		case err != nil:
			return err
		case now.node != s.id:
			s.lose(key, r, session.ErrStale)
			return nil
		case now.Generation > r.Generation:
			return nil
		}
		revision = now.revision // that of a write by this node whose answer did not arrive
	}
	return errConflict
}

// remove writes a deletion marker if this node has the session.
func (s *store) remove(ctx context.Context, id string) error {
	key := keyOf(id)
	revision := s.lease(key).revision
	for range maxTries {
		if revision > 0 {
			_, err := s.publish(ctx, key, nil, revision, 0)
			if err == nil {
				s.drop(key, nil)
				return nil
			}
			if !errors.Is(err, errConflict) {
				return err
			}
		}
		now, err := s.get(ctx, key)
		switch {
		case errors.Is(err, errGone) || err == nil && now.node != s.id:
			s.drop(key, nil)
			return nil
		case err != nil:
			return err
		}
		revision = now.revision
	}
	return errConflict
}

// lease returns what this node knows of the record under key; the zero value is nothing.
func (s *store) lease(key string) lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.held[key]; l != nil {
		return *l
	}
	return lease{}
}

// hold records that this node has written the record under key.
func (s *store) hold(key, id string, revision, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.held[key]
	if l == nil {
		l = &lease{id: id}
		s.held[key] = l
	}
	if revision > l.revision || generation > l.generation {
		l.revision, l.generation = revision, generation
	}
}

// leave marks the lease under key as one that another node takes over, and returns it. ok is false if
// there is none, or if it is marked already.
func (s *store) leave(key string) (l *lease, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l = s.held[key]
	if l == nil || l.leaving != nil {
		return l, false
	}
	l.leaving = make(chan struct{})
	return l, true
}

// drop removes the lease under key if it is l, or with a nil l any.
func (s *store) drop(key string, l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.held[key]
	if now == nil || l != nil && now != l {
		return
	}
	delete(s.held, key)
	if now.leaving != nil {
		close(now.leaving)
	}
}

// lose tells the manager that another node has, or has ended, the session of r.
func (s *store) lose(key string, r *session.Record, err error) {
	l, marked := s.leave(key)
	s.node.Lost(r.ID, r.Generation, err)
	if marked {
		s.drop(key, l)
	}
}
