package natsstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"goranch/protocol/session"
)

const (
	maxWrites = 64 // concurrent requests of one Save
	maxTries  = 4  // of one compare-and-set, each after reading the record again
)

// Save writes and removes each record separately. It stops at the first request that the server
// does not answer, and continues after one that it refuses; the error is a [session.SaveError]
// then.
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
		wg       sync.WaitGroup
		mu       sync.Mutex
		refused  = map[string]error{}
		first    error
		complete = true // each record was saved or refused
	)
	slots := make(chan struct{}, maxWrites)
	for i := range len(put) + len(remove) {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			id, err := s.saveOne(ctx, put, remove, i)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if refused[id] = err; first == nil {
				first = err
			}
			if !answered(err) {
				complete = false
				cancel()
			}
		})
	}
	wg.Wait()
	if first == nil {
		return context.Cause(s.ctx)
	}
	err := fmt.Errorf("session store: %d of %d sessions: %w", len(refused), len(put)+len(remove), first)
	if complete {
		return &session.SaveError{Refused: refused, Err: err}
	}
	return err
}

func (s *store) saveOne(ctx context.Context, put []session.Record, remove []string, i int) (id string, err error) {
	if i < len(put) {
		return put[i].ID, s.put(ctx, &put[i])
	}
	id = remove[i-len(put)]
	return id, s.remove(ctx, id)
}

// put writes r unless another node or a later generation has the session.
func (s *store) put(ctx context.Context, r *session.Record) error {
	key := keyOf(r.ID)
	l, now := s.lease(key)
	if now.generation > r.Generation {
		return nil // this node has taken the session again since
	}
	known, revision, value := now.generation > 0, now.revision, encode(r, s.id)
	for range maxTries {
		if now, _ := s.lease(key); now != l {
			return nil // it has taken the session again during the last attempt
		}
		written, err := s.publish(ctx, key, value, revision, r.TTL)
		if err == nil {
			if now.released {
				s.drop(key, l)
			} else {
				s.setLease(key, r.ID, written, r.Generation)
			}
			return nil
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		now, err := s.get(ctx, key)
		switch {
		case errors.Is(err, errNoRecord) && known && now.revision > 0:
			s.node.Lost(r.ID, r.Generation, session.ErrUnknown)
			s.drop(key, l)
			return nil
		case errors.Is(err, errNoRecord): // expired, or the bucket is a new one
			if known {
				s.checkSoon()
			}
		case err != nil:
			return err
		case now.node != s.id:
			s.node.Lost(r.ID, r.Generation, session.ErrStale)
			s.drop(key, l)
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
	l, now := s.lease(key)
	revision := now.revision
	for range maxTries {
		if revision > 0 {
			_, err := s.publish(ctx, key, nil, revision, 0)
			if err == nil {
				s.drop(key, l)
				return nil
			}
			if !errors.Is(err, errConflict) {
				return err
			}
		}
		now, err := s.get(ctx, key)
		switch {
		case errors.Is(err, errNoRecord) || err == nil && now.node != s.id:
			s.drop(key, l)
			return nil
		case err != nil:
			return err
		}
		revision = now.revision
	}
	return errConflict
}

// lease returns the lease under key, nil if there is none, and what it contains.
func (s *store) lease(key string) (*lease, lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[key]; l != nil {
		return l, *l
	}
	return nil, lease{}
}

// setLease records that this node has written the record under key.
func (s *store) setLease(key, id string, revision, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[key]
	if l == nil {
		l = &lease{id: id}
		s.leases[key] = l
	}
	if revision > l.revision || generation > l.generation {
		l.revision, l.generation = revision, generation
	}
}

// claim adds a lease of a session that is about to be taken over, so that the node releases it even
// if the request arrives before the answer to the write.
func (s *store) claim(key, id string, generation uint64) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &lease{id: id, claimed: generation}
	s.leases[key] = l
	return l
}

// drop removes the lease under key if it is l.
func (s *store) drop(key string, l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l != nil && s.leases[key] == l {
		delete(s.leases, key)
	}
}

// release gives up the lease l: it is removed now if the session is saved, otherwise by the next
// save.
func (s *store) release(key string, l *lease, saved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.released = true; saved && s.leases[key] == l {
		delete(s.leases, key)
	}
}

// abandon removes the lease of a takeover that has failed.
func (s *store) abandon(key string, l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[key] == l && l.generation == 0 {
		delete(s.leases, key)
	}
}
