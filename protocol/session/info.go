package session

import (
	"encoding/hex"
	"net"
	"time"
)

// Stats are the counters of a [Manager] since it was created. Attached, Detached and Loaded count
// sessions.
type Stats struct {
	Attached, Detached                          int
	Created, Resumed, TakenOver, Expired, Ended uint64
	Evicted                                     uint64 // by Options.Evict
	Refused                                     uint64 // too many sessions, unknown ids, too many attempts
	OutputDropped                               uint64 // bytes
	StoreErrors                                 uint64
	Loaded                                      uint64 // from the Store by New
	Moved                                       uint64 // taken over by another process or node
}

// Info describes one session.
type Info struct {
	ID         string
	Attached   bool
	Remote     net.Addr // of the attached connection, or of the last one
	Created    time.Time
	Since      time.Time // when the session was attached or detached
	Expires    time.Time // zero if it is attached or never expires
	Generation uint64    // number of attachments; after a crash the last one may be missing
	Buffered   int       // bytes of output kept for the next connection
}

// Stats returns the counters.
func (m *Manager[T]) Stats() Stats {
	attached := m.attached.Load()
	return Stats{
		Attached: int(attached), Detached: int(max(0, m.count.Load()-attached)),
		Created: m.created.Load(), Resumed: m.resumed.Load(), TakenOver: m.takenOver.Load(),
		Expired: m.expired.Load(), Evicted: m.evicted.Load(), Ended: m.ended.Load(), Refused: m.refused.Load(),
		OutputDropped: m.dropped.Load(), StoreErrors: m.errs.Load(), Loaded: m.loaded.Load(),
		Moved: m.moved.Load(),
	}
}

// List describes all sessions, in no particular order.
func (m *Manager[T]) List() []Info {
	infos := make([]Info, 0, m.count.Load())
	var entries []*entry[T]
	for i := range m.shards {
		entries = m.shards[i].appendAll(entries[:0])
		for _, e := range entries {
			if info, ok := e.info(); ok {
				infos = append(infos, info)
			}
		}
	}
	return infos
}

func (sh *shard[T]) appendAll(to []*entry[T]) []*entry[T] {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, e := range sh.entries {
		to = append(to, e)
	}
	return to
}

func (e *entry[T]) info() (Info, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.checkPhase() != nil || e.overdue() {
		return Info{}, false
	}
	i := Info{ID: e.id, Attached: e.holder != nil || e.elsewhere, Remote: e.remote, Created: time.Unix(0, e.created),
		Since: e.m.wallTime(e.since), Generation: e.gen}
	if e.backlog != nil {
		i.Buffered = e.backlog.bytes
	}
	if !i.Attached && e.m.opts.TTL > 0 {
		i.Expires = i.Since.Add(e.m.opts.TTL)
	}
	return i, true
}

// PublicID returns a name for the session with that id, for operators and logs: eight digits of a
// hash, from which the id, which is a secret, cannot be derived.
func PublicID(id string) string {
	sum := keyOf(id)
	return hex.EncodeToString(sum[:4])
}
