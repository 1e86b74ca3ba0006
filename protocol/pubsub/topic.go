package pubsub

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
)

// numShards is over how many locks topics are spread, so that publishers to different ones do not
// meet.
const numShards = 64

// topics are all that there are, patterns included. One comes to be by its first use, and goes
// with its last subscriber, or later, if its history is kept.
type topics struct {
	s      *Server
	seed   maphash.Seed
	count  atomic.Int64
	past   atomic.Int64 // bytes of history
	shards [numShards]struct {
		mu     sync.RWMutex // before topic.mu
		byName map[string]*topic
		_      [24]byte
	}
}

// topic is a name, or a pattern, and who has subscribed to it.
//
// Who subscribes to names only, and is attached, is in the group, which is the fast way. The rest
// is reached one by one, through their sessions: those who are away, and those with patterns, who
// are to get a message once, however many of their subscriptions fit.
type topic struct {
	name string
	rank uint64 // of a pattern, in the order of locks

	mu     sync.Mutex // held while something is published: that is the topic's order
	gone   bool       // no longer among the topics
	group  *protocol.Group
	others map[*subscriber]struct{}
	past   history
	since  time.Time // without subscribers; zero: it has some
}

// get returns a topic with its lock held, nil if there is none.
func (ts *topics) get(name string) *topic {
	sh := &ts.shards[maphash.String(ts.seed, name)%numShards]
	for {
		sh.mu.RLock()
		t := sh.byName[name]
		sh.mu.RUnlock()
		if t == nil {
			return nil
		}
		t.mu.Lock()
		if !t.gone {
			return t
		}
		t.mu.Unlock()
	}
}

// make returns a topic with its lock held, a new one if there is none.
func (ts *topics) make(name string) (*topic, error) {
	for {
		if t := ts.get(name); t != nil {
			return t, nil
		}
		if err := ts.add(name); err != nil {
			return nil, err
		}
	}
}

func (ts *topics) add(name string) error {
	sh := &ts.shards[maphash.String(ts.seed, name)%numShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byName[name] != nil {
		return nil
	}
	if most := ts.s.opts.MaxTopics; ts.count.Add(1) > int64(most) {
		ts.count.Add(-1)
		return fmt.Errorf("%w: there are %d topics already", ErrLimit, most)
	}
	if sh.byName == nil {
		sh.byName = make(map[string]*topic)
	}
	t := &topic{name: strings.Clone(name), since: time.Now()}
	sh.byName[t.name] = t
	if isPattern(name) {
		ts.s.patterns.add(t)
	}
	return nil
}

// release gives up the lock of t, and t itself if it has no subscriber and nothing to remember.
func (ts *topics) release(t *topic) {
	empty := t.members() == 0
	switch {
	case !empty:
		t.since = time.Time{}
	case t.since.IsZero():
		t.since = time.Now()
	}
	t.mu.Unlock()
	if empty {
		ts.forget(t, ts.s.opts.Retain)
	}
}

// forget removes t if it had no subscriber for so long. One without a history has nothing to be kept for.
func (ts *topics) forget(t *topic, retain time.Duration) {
	sh := &ts.shards[maphash.String(ts.seed, t.name)%numShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || t.members() > 0 || len(t.past.frames) > 0 && time.Since(t.since) < retain {
		return
	}
	t.gone = true
	ts.past.Add(-int64(t.past.bytes))
	delete(sh.byName, t.name)
	ts.count.Add(-1)
	if isPattern(t.name) {
		ts.s.patterns.remove(t)
	}
}

// remember keeps a frame in the history of t, as far as the limits allow. t.mu is held.
func (ts *topics) remember(t *topic, frame []byte) {
	opts, h := &ts.s.opts, &t.past
	before := h.bytes
	h.add(frame, opts.History, opts.HistoryBytes)
	for opts.HistoryTotal > 0 && len(h.frames) > 0 && ts.past.Load()+int64(h.bytes-before) > int64(opts.HistoryTotal) {
		h.pop()
	}
	ts.past.Add(int64(h.bytes - before))
}

// sweep forgets those whose history was kept long enough.
func (ts *topics) sweep() {
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
			idle := t.members() == 0
			t.mu.Unlock()
			if idle {
				ts.forget(t, ts.s.opts.Retain)
			}
		}
	}
}

// members returns how many subscribers there are. t.mu is held.
func (t *topic) members() int {
	n := len(t.others)
	if t.group != nil {
		n += t.group.Count()
	}
	return n
}

// join puts sub where it belongs. t.mu is held.
func (t *topic) join(sub *subscriber, p *protocol.Peer, direct bool) {
	if direct && p != nil {
		if t.group == nil {
			t.group = protocol.NewGroup(codec{})
		}
		if t.group.Join(p) == nil {
			delete(t.others, sub)
			return
		}
	}
	if t.others == nil {
		t.others = make(map[*subscriber]struct{})
	}
	t.others[sub] = struct{}{}
}

// leave takes sub out. t.mu is held.
func (t *topic) leave(sub *subscriber, p *protocol.Peer) {
	if delete(t.others, sub); len(t.others) == 0 {
		t.others = nil // a map keeps the room for all it ever had
	}
	if t.group != nil && p != nil {
		t.group.Leave(p)
	}
}

// drain waits until p, if it is in the group, has what was published so far. t.mu is held.
func (t *topic) drain(p *protocol.Peer) {
	if t.group != nil && p != nil && t.group.Has(p) {
		t.group.Wait()
	}
}

// send gives a frame to all who are here, those in seen left out, who are added to if that is not
// nil. t.mu is held.
func (t *topic) send(frame []byte, seen map[*subscriber]struct{}) (n int) {
	if t.group != nil {
		n = t.group.BroadcastEncoded(frame, nil)
	}
	for sub := range t.others {
		if seen != nil {
			if _, had := seen[sub]; had {
				continue
			}
			seen[sub] = struct{}{}
		}
		if sub.session.Output(frame) == nil {
			n++
		}
	}
	return n
}

// history is the last messages of a topic.
type history struct {
	frames [][]byte
	bytes  int
}

// add keeps a frame, and forgets the oldest beyond the limits.
func (h *history) add(frame []byte, most, bytes int) {
	if most <= 0 || bytes <= 0 {
		return
	}
	h.frames = append(h.frames, frame)
	h.bytes += len(frame)
	for len(h.frames) > most || h.bytes > bytes {
		h.pop()
	}
}

// pop forgets the oldest.
func (h *history) pop() {
	h.bytes -= len(h.frames[0])
	h.frames[0] = nil
	h.frames = h.frames[1:]
}

func (h *history) last(n int) [][]byte { return h.frames[len(h.frames)-min(n, len(h.frames)):] }
