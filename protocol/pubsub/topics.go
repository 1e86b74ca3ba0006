package pubsub

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// numShards is the number of locks over which topics are spread, so that publishers to different
// topics do not contend.
const numShards = 64

// topicTable holds all topics, patterns included. A topic is created by its first use. It is
// removed with its last subscriber, or Options.Retain later if it has a history.
type topicTable struct {
	server       *Server
	seed         maphash.Seed
	count        atomic.Int64
	historyBytes atomic.Int64 // of all topics
	shards       [numShards]topicShard
}

type topicShard struct {
	mu     sync.RWMutex // locked before topic.mu
	byName map[string]*topic
	_      [24]byte // keeps shards on separate cache lines
}

func (ts *topicTable) shard(name string) *topicShard {
	return &ts.shards[maphash.String(ts.seed, name)%numShards]
}

// lock returns the topic with that name, locked, or nil if there is none.
func (ts *topicTable) lock(name string) *topic {
	sh := ts.shard(name)
	for {
		sh.mu.RLock()
		t := sh.byName[name]
		sh.mu.RUnlock()
		if t == nil {
			return nil
		}
		t.mu.Lock()
		if !t.removed {
			return t
		}
		t.mu.Unlock()
	}
}

// lockOrCreate returns the topic with that name, locked; it creates the topic if there is none.
func (ts *topicTable) lockOrCreate(name string) (*topic, error) {
	for {
		if t := ts.lock(name); t != nil {
			return t, nil
		}
		if err := ts.create(name); err != nil {
			return nil, err
		}
	}
}

func (ts *topicTable) create(name string) error {
	sh := ts.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byName[name] != nil {
		return nil
	}
	if limit := ts.server.opts.MaxTopics; ts.count.Add(1) > int64(limit) {
		ts.count.Add(-1)
		return limitError("topics", limit)
	}
	if sh.byName == nil {
		sh.byName = make(map[string]*topic)
	}
	t := &topic{name: strings.Clone(name), emptySince: time.Now()}
	sh.byName[t.name] = t
	if isPattern(name) {
		ts.server.patterns.add(t)
	}
	return nil
}

// release unlocks t, and removes it if it has neither subscribers nor a history to keep.
func (ts *topicTable) release(t *topic) {
	empty := t.subscribers() == 0
	switch {
	case !empty:
		t.emptySince = time.Time{}
	case t.emptySince.IsZero():
		t.emptySince = time.Now()
	}
	t.mu.Unlock()
	if empty {
		ts.removeUnused(t)
	}
}

// removeUnused removes t if it has no subscribers, and no history that is still to be kept.
func (ts *topicTable) removeUnused(t *topic) {
	sh := ts.shard(t.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	keepHistory := len(t.history.frames) > 0 && time.Since(t.emptySince) < ts.server.opts.Retain
	if t.removed || t.subscribers() > 0 || keepHistory {
		return
	}
	t.removed = true
	ts.historyBytes.Add(-int64(t.history.bytes))
	delete(sh.byName, t.name)
	ts.count.Add(-1)
	if isPattern(t.name) {
		ts.server.patterns.remove(t)
	}
}

// addHistory adds a frame to the history of t, as far as the limits allow. t.mu is held.
func (ts *topicTable) addHistory(t *topic, frame []byte) {
	opts, h := &ts.server.opts, &t.history
	before := h.bytes
	h.add(frame, opts.History, opts.HistoryBytes)
	if limit := int64(opts.HistoryTotal); limit > 0 {
		for len(h.frames) > 0 && ts.historyBytes.Load()+int64(h.bytes-before) > limit {
			h.removeOldest()
		}
	}
	ts.historyBytes.Add(int64(h.bytes - before))
}

// removeExpired removes the topics without subscribers whose history has been kept long enough.
func (ts *topicTable) removeExpired() {
	var all []*topic
	for i := range ts.shards {
		sh := &ts.shards[i]
		all = all[:0]
		sh.mu.RLock()
		for _, t := range sh.byName {
			all = append(all, t)
		}
		sh.mu.RUnlock()
		for _, t := range all {
			t.mu.Lock()
			empty := t.subscribers() == 0
			t.mu.Unlock()
			if empty {
				ts.removeUnused(t)
			}
		}
	}
}
