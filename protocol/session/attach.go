package session

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Create makes a session with an id of its own and the state init, attached to h, whose connection comes from
// remote. It returns when the session is in the Store; those that create at the same time share one Save.
//
// The error is ErrTooMany, ErrClosed, the cause of ctx, or one of NewID, Marshal or the Store, wrapped. There is no
// session then.
func (m *Manager[T]) Create(ctx context.Context, remote net.Addr, h Holder, init T) (*Lease[T], error) {
	if h == nil {
		return nil, errors.New("session: Create without a holder")
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if !m.reserve() {
		m.refused.Add(1)
		return nil, ErrTooMany
	}
	now := m.now()
	s := &Session[T]{m: m, state: init, holder: h, remote: remote, gen: 1, since: now, created: m.wall(now).UnixNano()}
	if err := m.insert(s); err != nil {
		m.count.Add(-1)
		return nil, err
	}
	err := m.persist(ctx, s)
	s.mu.Lock()
	if err == nil && s.phase != pending {
		err = ErrClosed
	}
	if err != nil {
		s.phase = ended
		m.mark(s) // it may be in the store
		s.mu.Unlock()
		m.forget(s)
		return nil, err
	}
	s.phase = live
	m.attached.Add(1)
	m.created.Add(1)
	s.mu.Unlock()
	return &Lease[T]{s: s, gen: 1}, nil
}

// reserve takes one of the Max places.
func (m *Manager[T]) reserve() bool {
	if m.opts.Max < 0 {
		m.count.Add(1)
		return true
	}
	for swept := false; ; {
		n := m.count.Load()
		switch {
		case n < int64(m.opts.Max):
			if m.count.CompareAndSwap(n, n+1) {
				return true
			}
		case swept:
			if !m.opts.MakeRoom || !m.evict() {
				return false
			}
		default:
			swept = true
			m.expire() // what the sweeper is a little late for
		}
	}
}

// tries is how often NewID is asked.
const tries = 4

// insert gives s an id that no other session has.
func (m *Manager[T]) insert(s *Session[T]) error {
	for try := 0; ; try++ {
		newID := m.opts.NewID
		if try >= tries {
			newID = RandomID
		}
		id, err := newID(s.remote)
		if err == nil {
			err = checkID(id)
		}
		if err != nil {
			return fmt.Errorf("a new session's id: %w", err)
		}
		s.id = id
		if done, err := m.insertAs(s, keyOf(id)); done || err != nil {
			return err
		}
	}
}

func (m *Manager[T]) insertAs(s *Session[T], k key) (bool, error) {
	sh := m.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.closed.Load() { // Close looks for sessions after it has set this
		return false, ErrClosed
	}
	if sh.sessions[k] != nil {
		return false, nil
	}
	sh.sessions[k] = s
	return true, nil
}

// Attach resumes the session that has the id, for h, whose connection comes from remote. Who held it is told, by
// TakenOver, and can do nothing more with it. h is given what was kept for it, if it is a [Resumer] after
// how much was lost, before Attach returns and before anything newer. That h takes none of it is
// no error of Attach.
//
// The error is ErrUnknown, ErrTooManyAttempts, ErrClosed or the cause of ctx. Each ErrUnknown counts against the
// address of remote: after a few of them it has to wait, longer each time, and its attempts are refused
// meanwhile, right ones too. A nil remote is not limited.
func (m *Manager[T]) Attach(ctx context.Context, id string, remote net.Addr, h Holder) (*Lease[T], error) {
	if h == nil {
		return nil, errors.New("session: Attach without a holder")
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if remote != nil {
		if _, ok := m.limits.Allow(remote); !ok {
			m.refused.Add(1)
			return nil, ErrTooManyAttempts
		}
	}
	lease, err := m.find(id).attach(remote, h)
	if errors.Is(err, ErrUnknown) {
		m.refused.Add(1)
		if remote != nil {
			m.limits.Fail(remote) // and no Succeed: one's own session is no licence to guess others
		}
	}
	return lease, err
}

// attach is Attach for the session; nil is unknown.
func (s *Session[T]) attach(remote net.Addr, h Holder) (*Lease[T], error) {
	if s == nil {
		return nil, ErrUnknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == closed {
		return nil, ErrClosed
	}
	if s.phase != live || s.overdue() {
		return nil, ErrUnknown
	}
	m, before := s.m, s.holder
	if before == nil {
		m.idle.remove(s) // before since changes, which the list goes by
		m.attached.Add(1)
	} else {
		m.takenOver.Add(1)
		m.inform(func() { before.TakenOver(remote) })
	}
	m.resumed.Add(1)
	s.gen++
	s.holder, s.remote, s.since, s.deaf = h, remote, m.now(), false
	m.mark(s)
	if s.kept == nil {
		s.kept = &backlog{}
	}
	if s.kept.deliver(h) == nil {
		s.kept = nil
	} else {
		s.deaf = true
	}
	return &Lease[T]{s: s, gen: s.gen}, nil
}
