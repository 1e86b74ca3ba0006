package web

import "sync"

// Limits of what is remembered for browsers that come back for events.
const (
	maxTrails    = 1000
	trailEvents  = 64
	trailedBytes = 64 << 10
)

// trail is the last messages of a session, numbered, of which nobody knows whether the browser has them.
type trail struct {
	mu    sync.Mutex
	up    *upstream // the connection that has the session
	last  uint64    // number of the last message
	items []item
	bytes int
}

func (t *trail) add(frame []byte) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.items = append(t.items, item{t.last, frame})
	t.bytes += len(frame)
	for len(t.items) > trailEvents || t.bytes > trailedBytes {
		t.bytes -= len(t.items[0].frame)
		t.items[0] = item{}
		t.items = t.items[1:]
	}
	return t.last
}

// after returns the messages behind number n, and how many of them are no longer known.
func (t *trail) after(n uint64) (items []item, lost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= t.last {
		return nil, 0
	}
	for i, it := range t.items {
		if it.n > n {
			return append(items, t.items[i:]...), it.n - n - 1
		}
	}
	return nil, t.last - n
}

// trails finds those of the last sessions.
type trails struct {
	mu      sync.Mutex
	byToken map[string]*trail
	order   []string // the oldest first
}

func (ts *trails) put(token string, t *trail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byToken == nil {
		ts.byToken = make(map[string]*trail)
	}
	if ts.byToken[token] == nil {
		ts.order = append(ts.order, token)
	}
	ts.byToken[token] = t
	if len(ts.order) > maxTrails {
		delete(ts.byToken, ts.order[0])
		ts.order = ts.order[1:]
	}
}

// take returns the trail of a session, whose connection has ended then.
func (ts *trails) take(token string) *trail {
	ts.mu.Lock()
	t := ts.byToken[token]
	ts.mu.Unlock()
	if t != nil {
		t.up.close()
	}
	return t
}
