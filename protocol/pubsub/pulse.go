package pubsub

import (
	"sync"
	"sync/atomic"
	"time"
)

// pulse is what is known of whether a client lives.
type pulse struct {
	index       int    // in its ward, under the lock of that
	sent, heard uint64 // bytes, when they were last looked at; these and the rest are the doctor's
	sentAt      time.Time
	missed      int    // heartbeats in a row
	dropped     uint64 // frames, of which the client was told
}

// crowd is all connections. One goroutine looks after them, as long as there are any, or topics.
type crowd struct {
	s     *Server
	count atomic.Int64
	wards [16]struct {
		mu  sync.Mutex
		all []*Client
		_   [32]byte
	}

	awake   atomic.Bool
	mu      sync.Mutex
	stopped bool
	quit    chan struct{}
	done    sync.WaitGroup
}

func (cr *crowd) ward(c *Client) int { return int(c.peer.Conn().ID() % uint64(len(cr.wards))) }

func (cr *crowd) add(c *Client) {
	c.pulse.sentAt = time.Now()
	w := &cr.wards[cr.ward(c)]
	w.mu.Lock()
	c.pulse.index = len(w.all) + 1 // 0: it is not there
	w.all = append(w.all, c)
	w.mu.Unlock()
	cr.count.Add(1)
	cr.wake()
}

func (cr *crowd) remove(c *Client) {
	w := &cr.wards[cr.ward(c)]
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.pulse.index == 0 {
		return
	}
	i, last := c.pulse.index-1, len(w.all)-1
	w.all[i] = w.all[last]
	w.all[i].pulse.index = i + 1
	w.all[last] = nil
	w.all = w.all[:last]
	cr.count.Add(-1)
}

// wake has somebody look after clients and topics.
func (cr *crowd) wake() {
	if cr.awake.Load() {
		return
	}
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if cr.stopped || cr.awake.Swap(true) {
		return
	}
	if cr.quit == nil {
		cr.quit = make(chan struct{})
	}
	cr.done.Go(cr.look)
}

// sleep reports whether there is nobody left to look after.
func (cr *crowd) sleep() bool {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if cr.count.Load() > 0 || cr.s.topics.count.Load() > 0 {
		return false
	}
	cr.awake.Store(false)
	return cr.count.Load() == 0 && cr.s.topics.count.Load() == 0 || cr.awake.Swap(true) // somebody came meanwhile, and saw it awake
}

func (cr *crowd) close() {
	cr.mu.Lock()
	if !cr.stopped {
		cr.stopped = true
		if cr.quit != nil {
			close(cr.quit)
		}
	}
	cr.mu.Unlock()
	cr.done.Wait()
}

// look comes by again and again.
func (cr *crowd) look() {
	t := time.NewTicker(cr.interval())
	defer t.Stop()
	var batch []*Client
	for {
		select {
		case <-t.C:
		case <-cr.quit:
			return
		}
		now := time.Now()
		for i := range cr.wards {
			w := &cr.wards[i]
			w.mu.Lock()
			batch = append(batch[:0], w.all...)
			w.mu.Unlock()
			for _, c := range batch {
				c.examine(now)
			}
		}
		clear(batch)
		cr.s.topics.sweep()
		if cr.sleep() {
			return
		}
	}
}

// interval is a sixth of a heartbeat, and a quarter of the time that topics are kept, if that is
// less; but neither more than 5 s nor less than 10 ms.
func (cr *crowd) interval() time.Duration {
	d := 5 * time.Second
	if h := cr.s.opts.Heartbeat; h > 0 {
		d = min(d, h/6)
	}
	if r := cr.s.opts.Retain; r > 0 {
		d = min(d, r/4)
	}
	return max(d, 10*time.Millisecond)
}

// examine sends a heartbeat if one is due, and tells of what was dropped.
func (c *Client) examine(now time.Time) {
	p, opts, st := &c.pulse, &c.s.opts, c.peer.Conn().Stats()
	if st.BytesWritten != p.sent {
		p.sent, p.sentAt = st.BytesWritten, now
	}
	if st.BytesRead != p.heard {
		p.heard, p.missed = st.BytesRead, 0
	}
	if opts.Heartbeat > 0 && now.Sub(p.sentAt) >= opts.Heartbeat {
		if opts.MissedHeartbeats > 0 && p.missed >= opts.MissedHeartbeats {
			c.s.count.silent.Add(1)
			c.peer.Close(ErrSilent)
			return
		}
		p.missed++
		p.sentAt = now
		c.peer.SendAlone([]byte(ping))
	}
	if n := c.peer.Outbox().Dropped(); n > p.dropped && c.peer.SendAlone(notice(droppedKey, n-p.dropped)) == nil {
		p.dropped = n
	}
}
