package pubsub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
)

// monitor sends heartbeats to all clients, closes clients that do not answer, reports dropped
// messages, and removes expired topics. One goroutine does this while there are clients or topics.
type monitor struct {
	server  *Server
	clients atomic.Int64
	shards  [16]struct {
		mu      sync.Mutex
		clients []*Client
		_       [32]byte // keeps shards on separate cache lines
	}

	running atomic.Bool // set under mu
	mu      sync.Mutex
	closed  bool
	quit    chan struct{}
	done    sync.WaitGroup
}

// clientMonitor is the monitor's record of one client. Only the monitor's goroutine uses it, except
// index, which the lock of the shard guards.
type clientMonitor struct {
	index                   int32  // in the shard, plus 1; 0 when the client is not registered
	missed                  int32  // heartbeats in a row without input
	bytesWritten, bytesRead uint64 // at the last check
	lastWrite               int64  // when bytesWritten changed, or the last heartbeat, by Server.now
	reportedDrops           uint64
}

func (m *monitor) shardOf(c *Client) int { return int(c.peer.Conn().ID() % uint64(len(m.shards))) }

func (m *monitor) add(c *Client) {
	c.monitor.lastWrite = m.server.now()
	sh := &m.shards[m.shardOf(c)]
	sh.mu.Lock()
	c.monitor.index = int32(len(sh.clients) + 1)
	sh.clients = append(sh.clients, c)
	sh.mu.Unlock()
	m.clients.Add(1)
	m.start()
}

func (m *monitor) remove(c *Client) {
	sh := &m.shards[m.shardOf(c)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.monitor.index == 0 {
		return
	}
	i, last := int(c.monitor.index-1), len(sh.clients)-1
	sh.clients[i] = sh.clients[last]
	sh.clients[i].monitor.index = int32(i + 1)
	sh.clients[last] = nil
	sh.clients = sh.clients[:last]
	m.clients.Add(-1)
}

// start starts the goroutine unless it runs. It is called after a client or a topic was added.
func (m *monitor) start() {
	if m.running.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.running.Swap(true) {
		return
	}
	if m.quit == nil {
		m.quit = make(chan struct{})
	}
	m.done.Go(m.run)
}

// stopIfUnused reports whether the goroutine has to return because there is nothing to monitor.
func (m *monitor) stopIfUnused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inUse() {
		return false
	}
	m.running.Store(false)
	// A client or topic that was added before the Store saw running set and did not start another
	// goroutine, so this one checks again.
	return !m.inUse() || m.running.Swap(true)
}

func (m *monitor) inUse() bool { return m.clients.Load() > 0 || m.server.topics.count.Load() > 0 }

// close stops the goroutine and waits for it.
func (m *monitor) close() {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		if m.quit != nil {
			close(m.quit)
		}
	}
	m.mu.Unlock()
	m.done.Wait()
}

func (m *monitor) run() {
	t := time.NewTicker(m.interval())
	defer t.Stop()
	var batch []*Client
	for {
		select {
		case <-t.C:
		case <-m.quit:
			return
		}
		now, at := time.Now(), m.server.now()
		for i := range m.shards {
			sh := &m.shards[i]
			sh.mu.Lock()
			batch = append(batch[:0], sh.clients...)
			sh.mu.Unlock()
			for _, c := range batch {
				c.check(now, at)
			}
		}
		clear(batch)
		m.server.topics.removeExpired()
		if m.stopIfUnused() {
			return
		}
	}
}

// interval returns a sixth of Options.Heartbeat, or a quarter of Options.Retain or
// Options.FrameTimeout, whichever is least, within 10 ms and 5 s.
func (m *monitor) interval() time.Duration {
	d := 5 * time.Second
	if h := m.server.opts.Heartbeat; h > 0 {
		d = min(d, h/6)
	}
	if r := m.server.opts.Retain; r > 0 {
		d = min(d, r/4)
	}
	if t := m.server.opts.FrameTimeout; t > 0 {
		d = min(d, t/4)
	}
	return max(d, 10*time.Millisecond)
}

// check is called at a time, which is also given by Server.now. It closes the client if it is
// silent, sends a heartbeat if one is due, and reports dropped messages.
func (c *Client) check(now time.Time, at int64) {
	m, opts, st := &c.monitor, &c.server.opts, c.peer.Conn().Stats()
	if st.BytesWritten != m.bytesWritten {
		m.bytesWritten, m.lastWrite = st.BytesWritten, at
	}
	if st.BytesRead != m.bytesRead {
		m.bytesRead, m.missed = st.BytesRead, 0
	}
	if h := (*handler)(c); h.incoming.overdue(now, opts.FrameTimeout) {
		c.server.counters.refused.Add(1)
		err := fmt.Errorf("%w: a frame has not arrived completely within %v", protocol.ErrBadInput, opts.FrameTimeout)
		sendAlone(c.peer, errorFrame(err))
		c.peer.Close(err)
		return
	}
	if opts.Heartbeat > 0 && time.Duration(at-m.lastWrite) >= opts.Heartbeat {
		if opts.MissedHeartbeats > 0 && int(m.missed) >= opts.MissedHeartbeats {
			c.server.counters.silent.Add(1)
			c.peer.Close(errSilent)
			return
		}
		m.missed++
		m.lastWrite = at
		sendAlone(c.peer, []byte(ping))
	}
	n := c.peer.Outbox().Dropped()
	if n > m.reportedDrops && sendAlone(c.peer, countFrame(droppedPrefix, n-m.reportedDrops)) == nil {
		m.reportedDrops = n
	}
}
