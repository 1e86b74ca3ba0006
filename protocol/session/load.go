package session

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// load adds the records of the Store, as detached sessions unless another process has them, and
// removes expired records.
func (m *Manager[T]) load() error {
	elsewhere := m.share()
	var entries, wereAttached []*entry[T]
	var expired []string
	err := m.opts.Store.Each(func(r Record) bool {
		since := time.Duration(0) // the TTL of a session that was attached starts now
		if !r.Attached {
			since = -max(0, m.start.Sub(r.Seen)) // 0 if the clock was set back
		}
		if m.opts.TTL > 0 && -since >= m.opts.TTL {
			expired = append(expired, r.ID)
			return true
		}
		e := (&entry[T]{m: m, id: r.ID, phase: active, stored: true, gen: r.Generation, created: r.Created.UnixNano(), since: since}).init()
		if err := cmp.Or(checkID(r.ID), m.unmarshal(r.State, &e.state)); err != nil {
			m.storeError(fmt.Errorf("load a session: %w", err))
			return true
		}
		entries = append(entries, e)
		if e.elsewhere = r.Attached && elsewhere; r.Attached && !e.elsewhere {
			wereAttached = append(wereAttached, e)
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b *entry[T]) int { return cmp.Compare(a.since, b.since) })
	for _, e := range entries {
		k := keyOf(e.id)
		m.shard(k).entries[k] = e
		if !e.elsewhere {
			m.detached.push(e)
		}
	}
	for _, e := range wereAttached {
		m.markDirty(e) // saved as detached, so that its TTL does not start again at the next restart
	}
	m.count.Store(int64(len(entries)))
	if len(entries) > 0 {
		m.enforceLimits(entries[0])
	}
	m.loaded.Store(uint64(len(entries)))
	if len(expired) > 0 {
		if err := m.opts.Store.Save(nil, expired); err != nil {
			m.storeError(fmt.Errorf("remove expired sessions: %w", err)) // the next start tries again
		}
		m.expired.Add(uint64(len(expired)))
	}
	return nil
}
