package protocol

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// maxPending is the number of broadcast bytes that may wait for a worker. Beyond it, broadcasts
// wait for the worker.
const maxPending = 4 << 20

// Group is a set of peers to which frames are broadcast. The zero value is an empty group. A frame
// is encoded once, and written by one worker per processor, which does not wait for slow members:
// their frames are queued in their outboxes, under their own policies. Frames that are broadcast
// while a worker is busy are written to each member in one system call.
//
// Broadcasts arrive in order. Their order relative to frames of [Peer.Send] is undefined. A peer
// leaves its groups when its connection ends. All methods may be called from any goroutine; an idle
// group has no goroutine of its own.
type Group struct {
	// Codec encodes the frames. It must be the codec of the members, and set before the first use.
	// nil is [Raw].
	Codec Codec

	once    sync.Once // makes shards
	shards  []shard
	members atomic.Int64
}

// shard is a part of the members, with its own worker.
type shard struct {
	mu      sync.Mutex // locked after Peer.mu
	changed sync.Cond  // the worker has taken or sent the pending segments
	members []slot

	pending []segment
	bytes   int    // of pending
	seq     uint64 // of the last segment
	sent    uint64 // the last segment that the members have received
	working bool   // the worker runs
}

// slot holds the fields of a member that the worker reads, in the order in which it reads them. Of
// most members it reads nothing else, which saves cache misses.
type slot struct {
	out    *Outbox
	joined uint64 // the last segment before the peer joined
	m      *member
}

// member is the membership of a peer in a group.
type member struct {
	g       *Group
	p       *Peer
	next    *member // of the same peer, under the mutex of the peer
	index   int32   // in shard.members, under the mutex of the shard
	removed atomic.Bool
}

// segment is one broadcast.
type segment struct {
	b      []byte // encoded; not modified
	seq    uint64
	except *Peer
	only   map[*member]struct{} // nil for all members
}

func (g *Group) start() {
	g.once.Do(func() {
		g.shards = make([]shard, runtime.GOMAXPROCS(0))
		for i := range g.shards {
			g.shards[i].changed.L = &g.shards[i].mu
		}
	})
}

func (g *Group) encode(frame []byte) ([]byte, error) {
	if g.Codec == nil {
		return Raw{}.Append(nil, frame)
	}
	return g.Codec.Append(nil, frame)
}

// shardOf returns the shard of p. The group was started.
func (g *Group) shardOf(p *Peer) *shard { return &g.shards[p.conn.ID()%uint64(len(g.shards))] }

// Join adds p to the group, if it is not a member already. p receives what is broadcast from then
// on. The error is [ErrEnded].
func (g *Group) Join(p *Peer) error {
	g.start()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mail.closed {
		return ErrEnded
	}
	if *p.membership(g) != nil {
		return nil
	}
	m := &member{g: g, p: p, next: p.groups}
	p.groups = m
	sh := g.shardOf(p)
	sh.mu.Lock()
	m.index = int32(len(sh.members))
	sh.members = append(sh.members, slot{&p.out, sh.seq, m})
	sh.mu.Unlock()
	g.members.Add(1)
	return nil
}

// Leave removes p from the group, and reports whether it was a member. Earlier broadcasts may still
// arrive.
func (g *Group) Leave(p *Peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.membership(g)
	m := *at
	if m == nil {
		return false
	}
	*at, m.next = m.next, nil
	m.remove()
	return true
}

// Count returns the number of members.
func (g *Group) Count() int { return int(g.members.Load()) }

// membership returns the membership of p; nil if p is nil or not a member.
func (g *Group) membership(p *Peer) *member {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.membership(g)
}

// membership returns where the list of p.groups refers to its membership in g, or ends. p.mu is
// held.
func (p *Peer) membership(g *Group) **member {
	at := &p.groups
	for *at != nil && (*at).g != g {
		at = &(*at).next
	}
	return at
}

// leaveGroups removes p from all groups. It runs when the connection has ended.
func (p *Peer) leaveGroups() {
	p.mu.Lock()
	groups := p.groups
	p.groups = nil
	p.mu.Unlock()
	for m := groups; m != nil; m = m.next {
		m.remove()
	}
}

func (m *member) remove() {
	m.removed.Store(true)
	sh := m.g.shardOf(m.p)
	sh.mu.Lock()
	last := len(sh.members) - 1
	sh.members[m.index] = sh.members[last]
	sh.members[m.index].m.index = m.index
	sh.members[last] = slot{}
	sh.members = sh.members[:last]
	sh.mu.Unlock()
	m.g.members.Add(-1)
}
