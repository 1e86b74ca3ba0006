package pubsub

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/topicname"
)

// numShards is the number of locks over which topics are spread, so that publishers to different
// topics do not contend.
const numShards = 64

// topicTable holds all topics, patterns included. A topic is created by its first use. It is
// removed with its last subscriber, or with its history if that is kept longer.
type topicTable struct {
	server     *Server
	seed       maphash.Seed
	count      atomic.Int64 // all topics
	subscribed atomic.Int64 // topics with subscribers, which Options.MaxTopics limits
	histories  histories
	offsets    atomic.Uint64 // the largest offset of a topic that was removed
	shards     [numShards]topicShard
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

// lockOrCreate returns the topic with that name, locked; it creates the topic if there is none. The
// error wraps errLimit; there is none for topics that are no patterns. by is the account for
// patterns, nil for topics.
func (ts *topicTable) lockOrCreate(name string, by *account) (*topic, error) {
	for {
		if t := ts.lock(name); t != nil {
			return t, nil
		}
		if err := ts.create(name, by); err != nil {
			return nil, err
		}
	}
}

func (ts *topicTable) create(name string, by *account) error {
	sh := ts.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byName[name] != nil {
		return nil
	}
	t := &topic{name: strings.Clone(name)}
	if topicname.IsPattern(name) {
		if err := ts.server.patterns.add(t, by); err != nil {
			return err
		}
	}
	if sh.byName == nil {
		sh.byName = make(map[string]*topic)
	}
	sh.byName[t.name] = t
	ts.count.Add(1)
	return nil
}

// lockToSubscribe is lockOrCreate for a topic that is about to get a subscriber, whose account is
// a. by is the account for a pattern of a rare shape. The error wraps errLimit.
func (ts *topicTable) lockToSubscribe(name string, a, by *account) (*topic, error) {
	t, err := ts.lockOrCreate(name, by)
	if err != nil || t.counted {
		return t, err
	}
	limit := int64(ts.server.opts.MaxTopics)
	free := limit - ts.subscribed.Add(1)
	if err = a.mayAddTopic(free); free < 0 {
		err = limitError("topics", int(limit))
	}
	if err != nil {
		ts.subscribed.Add(-1)
		ts.release(t)
		return nil, err
	}
	t.counted = true
	if b := ts.server.opts.Broker; b != nil {
		b.Subscribe(t.name)
	}
	return t, nil
}

// pin makes this server subscribe to the messages of an ordered topic until release is called. The
// error wraps errLimit.
func (ts *topicTable) pin(name string, a *account) (release func(), err error) {
	t, err := ts.lockToSubscribe(name, a, a)
	if err != nil {
		return nil, err
	}
	t.pins++
	ts.release(t)
	return func() {
		t.mu.Lock()
		t.pins--
		ts.release(t)
	}, nil
}

// release unlocks t after a change of its subscribers or history, and removes it if it has neither.
func (ts *topicTable) release(t *topic) {
	used, forget := t.used(), ts.server.opts.Retain < 0
	if !used && t.counted {
		ts.subscribed.Add(-1)
		t.counted = false
		if b := ts.server.opts.Broker; b != nil {
			b.Unsubscribe(t.name)
			if h := t.history; h != nil && h.epoch != "" { // messages that arrive from now on are missed
				forget = true
				h.epoch, h.offset, h.previous, h.ahead = "", 0, 0, nil
			}
		}
	}
	if !used && forget {
		t.history.clear()
	}
	var evicted []*topic
	if !t.history.empty() && t.history.placedUsed != used {
		evicted = ts.histories.update(t, used)
	}
	unused := !used && t.history.empty()
	t.mu.Unlock()
	if unused {
		ts.removeUnused(t)
	}
	ts.evict(evicted)
}

// removeUnused removes t if it has neither subscribers nor a history.
func (ts *topicTable) removeUnused(t *topic) {
	sh := ts.shard(t.name)
	sh.mu.Lock()
	t.mu.Lock()
	remove := !t.removed && !t.used() && t.history.empty()
	if remove {
		t.removed = true
		ts.keepOffset(t)
		ts.histories.update(t, false)
		delete(sh.byName, t.name)
		ts.count.Add(-1)
	}
	t.mu.Unlock()
	sh.mu.Unlock()
	if remove && t.pattern != nil {
		ts.server.patterns.remove(t) // without t.mu, for which lockMatching may wait
	}
}

// historyOf returns the history of t, which it creates if there is none. t.mu is held.
func (ts *topicTable) historyOf(t *topic) *history {
	if t.history == nil {
		t.history = &history{offset: ts.offsets.Load()}
	}
	return t.history
}

// keepOffset makes offsets of a later topic with the name of t, which is removed, continue after
// those of t. t.mu is held.
func (ts *topicTable) keepOffset(t *topic) {
	if t.history == nil || t.history.epoch != "" {
		return
	}
	for {
		last := ts.offsets.Load()
		if t.history.offset <= last || ts.offsets.CompareAndSwap(last, t.history.offset) {
			return
		}
	}
}

// keepsOrder reports whether t has a history, to which the message at, if it is one of an ordered
// topic, belongs: the history of an ordered topic is known only while this server is subscribed to
// it. t.mu is held.
func (ts *topicTable) keepsOrder(t *topic, at *Message) bool {
	return ts.server.opts.keepsHistory() && (at == nil || t.counted)
}

// advance gives the next message of t its offset. It reports false if the message was delivered
// before. t.mu is held.
func (ts *topicTable) advance(t *topic, at *Message) bool {
	switch {
	case !ts.keepsOrder(t, at):
		return true
	case at != nil:
		return ts.historyOf(t).accept(at)
	}
	ts.historyOf(t).advance()
	return true
}

// addHistory adds a frame of a publisher, which has the last offset, to the history of t. It
// returns that offset, and the topics to evict when t is unlocked. t.mu is held.
func (ts *topicTable) addHistory(t *topic, at *Message, frame []byte, by netip.Addr) (offset uint64, evicted []*topic) {
	if !ts.keepsOrder(t, at) {
		return 0, nil
	}
	opts := &ts.server.opts
	t.history.by = by
	t.history.add(frame, opts.History, opts.HistoryBytes)
	return t.history.offset, ts.histories.update(t, t.used())
}

// removeExpired removes the topics without subscribers whose history has been kept long enough.
func (ts *topicTable) removeExpired() {
	ts.evict(ts.histories.takeExpired(time.Now().Add(-ts.server.opts.Retain)))
}
