package main

import (
	"context"
	"hash/maphash"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// store holds the values by key, in shards with a lock each.
type store struct {
	limit  int64 // of bytes
	bytes  atomic.Int64
	seed   maphash.Seed
	shards [256]shard
}

type shard struct {
	mu     sync.Mutex
	values map[string]*value
	_      [48]byte // a cache line for each shard
}

type value struct {
	data    []byte
	expires int64 // Unix time in nanoseconds; 0 is never
}

// overhead is the approximate memory of a key and value, in bytes, besides their text.
const overhead = 100

func newStore(limit int64) *store {
	s := &store{limit: limit, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].values = map[string]*value{}
	}
	return s
}

// locked returns the shard of a key, locked, and the value; nil if there is none.
func (s *store) locked(key []byte) (*shard, *value) {
	sh := &s.shards[maphash.Bytes(s.seed, key)%uint64(len(s.shards))]
	sh.mu.Lock()
	v := sh.values[string(key)]
	if v != nil && v.expires != 0 && v.expires <= time.Now().UnixNano() {
		s.remove(sh, string(key), v)
		v = nil
	}
	return sh, v
}

// remove removes a value. sh is locked.
func (s *store) remove(sh *shard, key string, v *value) {
	delete(sh.values, key)
	s.bytes.Add(-int64(len(key) + cap(v.data) + overhead))
}

// get appends the value as a bulk string.
func (s *store) get(b, key []byte) []byte {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	if v == nil {
		return append(b, nilBulk...)
	}
	return appendBulk(b, v.data)
}

// set stores a value, which expires after a time; 0 is never. It reports whether there was memory.
func (s *store) set(key, data []byte, after time.Duration) bool {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	if v = s.put(sh, v, key, data); v == nil {
		return false
	}
	v.expires = 0
	if after > 0 {
		v.expires = deadline(after)
	}
	return true
}

// put changes v, or adds a value if v is nil, and returns it; nil if there is no memory for it. sh
// is locked. Data that fits is copied to the place of the old data: readers copy it under the lock
// too.
func (s *store) put(sh *shard, v *value, key, data []byte) *value {
	if v != nil && len(data) <= cap(v.data) && cap(v.data) <= 2*len(data)+64 {
		v.data = append(v.data[:0], data...)
		return v
	}
	grow := int64(len(data))
	if v == nil {
		grow += int64(len(key) + overhead)
	} else {
		grow -= int64(cap(v.data))
	}
	if s.bytes.Add(grow) > s.limit && grow > 0 {
		s.bytes.Add(-grow)
		return nil
	}
	if v == nil {
		v = &value{}
		sh.values[string(key)] = v
	}
	v.data = append(make([]byte, 0, len(data)), data...)
	return v
}

// add adds to a number, and answers the sum.
func (s *store) add(b, key []byte, n int64) []byte {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	old := int64(0)
	if v != nil {
		var ok bool
		if old, ok = number(v.data); !ok {
			return append(b, outOfRange...)
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		return append(b, outOfRange...)
	}
	var digits [20]byte
	if s.put(sh, v, key, strconv.AppendInt(digits[:0], old+n, 10)) == nil {
		return append(b, full...)
	}
	return appendInt(b, old+n)
}

func (s *store) del(key []byte) bool {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	if v != nil {
		s.remove(sh, string(key), v)
	}
	return v != nil
}

func (s *store) has(key []byte) bool {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	return v != nil
}

// expire makes a value expire after a time, and reports whether there is one.
func (s *store) expire(key []byte, after time.Duration) bool {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	if v == nil {
		return false
	}
	v.expires = deadline(after)
	return true
}

func deadline(after time.Duration) int64 {
	now := time.Now().UnixNano()
	if int64(after) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(after)
}

// ttl returns the seconds until a value expires; -1 if it does not, -2 if there is none.
func (s *store) ttl(key []byte) int64 {
	sh, v := s.locked(key)
	defer sh.mu.Unlock()
	switch {
	case v == nil:
		return -2
	case v.expires == 0:
		return -1
	}
	return int64((time.Duration(v.expires-time.Now().UnixNano()) + time.Second/2) / time.Second)
}

func (s *store) size() (n int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += int64(len(sh.values))
		sh.mu.Unlock()
	}
	return n
}

func (s *store) flush() { s.removeIf(func(*value) bool { return true }) }

// removeExpired removes expired values, once a second, until ctx ends.
func (s *store) removeExpired(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.removeIf(func(v *value) bool { return v.expires != 0 && v.expires <= now.UnixNano() })
		}
	}
}

func (s *store) removeIf(match func(v *value) bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for key, v := range sh.values {
			if match(v) {
				s.remove(sh, key, v)
			}
		}
		sh.mu.Unlock()
	}
}
