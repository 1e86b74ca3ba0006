package protocol

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrNotMember is returned by [Group.Leave] for a peer that is not in the group.
var ErrNotMember = errors.New("not a member of the group")

// maxPending is how many bytes of broadcasts may wait for a worker, before who broadcasts
// has to wait for it.
const maxPending = 4 << 20

// Group is a set of peers to which frames are broadcast: encoded once, and written to many by
// one worker for each processor, which waits for nobody. A peer that does not keep up has what
// is broadcast in its own queue, with its own policy. While a worker is busy, what is broadcast
// meanwhile is gathered, and goes out to each member in one system call.
//
// Broadcasts arrive in their order; what is sent by [Peer.Send] may come before or after
// them. A peer leaves its groups when its connection ends. All methods may be called from any
// goroutine; an idle group has none.
type Group struct {
	codec   Codec
	parts   []part
	members atomic.Int64
	dropped atomic.Uint64
}

// part is a share of the members, with a worker of its own.
type part struct {
	mu      sync.Mutex // after Peer.mu
	taken   sync.Cond  // the worker has taken what waited, or has sent it
	members []*member
	pending []segment
	bytes   int    // in pending
	seq     uint64 // of the last segment
	sent    uint64 // the last segment that members have been given
	working bool
}

// member is a peer in one group.
type member struct {
	g      *Group
	p      *Peer
	index  int    // in its part, under the part's mu
	joined uint64 // what was broadcast up to here is not for it
	left   atomic.Bool
}

// segment is one broadcast.
type segment struct {
	b      []byte // encoded; never changed
	seq    uint64
	except *Peer
	only   map[*member]struct{} // nil: all
}

// NewGroup returns a group without members. Its frames are encoded by codec, which must be the
// one of its members; nil is [Raw].
func NewGroup(codec Codec) *Group {
	if codec == nil {
		codec = Raw{}
	}
	g := &Group{codec: codec, parts: make([]part, runtime.GOMAXPROCS(0))}
	for i := range g.parts {
		g.parts[i].taken.L = &g.parts[i].mu
	}
	return g
}

func (g *Group) part(p *Peer) *part { return &g.parts[p.conn.ID()%uint64(len(g.parts))] }

// Join makes p a member; it gets what is broadcast from then on. Joining again does nothing.
// The error is [ErrEnded].
func (g *Group) Join(p *Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mail.closed {
		return ErrEnded
	}
	if p.membership(g) >= 0 {
		return nil
	}
	m := &member{g: g, p: p}
	p.groups = append(p.groups, m)
	pt := g.part(p)
	pt.mu.Lock()
	m.index, m.joined = len(pt.members), pt.seq
	pt.members = append(pt.members, m)
	pt.mu.Unlock()
	g.members.Add(1)
	return nil
}

// Leave ends the membership of p. What was broadcast before may still arrive.
func (g *Group) Leave(p *Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.membership(g)
	if i < 0 {
		return ErrNotMember
	}
	m := p.groups[i]
	last := len(p.groups) - 1
	p.groups[i], p.groups[last] = p.groups[last], nil
	p.groups = p.groups[:last]
	m.remove()
	return nil
}

// Has reports whether p is a member.
func (g *Group) Has(p *Peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.membership(g) >= 0
}

// membership returns the place of g in p.groups. p.mu is held.
func (p *Peer) membership(g *Group) int {
	for i, m := range p.groups {
		if m.g == g {
			return i
		}
	}
	return -1
}

// leaveAll is called when the connection has ended.
func (p *Peer) leaveAll() {
	p.mu.Lock()
	groups := p.groups
	p.groups = nil
	p.mu.Unlock()
	for _, m := range groups {
		m.remove()
	}
}

func (m *member) remove() {
	m.left.Store(true)
	pt := m.g.part(m.p)
	pt.mu.Lock()
	last := len(pt.members) - 1
	pt.members[m.index] = pt.members[last]
	pt.members[m.index].index = m.index
	pt.members[last] = nil
	pt.members = pt.members[:last]
	pt.mu.Unlock()
	m.g.members.Add(-1)
}

// Count returns how many members there are.
func (g *Group) Count() int { return int(g.members.Load()) }

// Dropped returns how often something that was broadcast did not reach a member, because it did
// not keep up or has ended.
func (g *Group) Dropped() uint64 { return g.dropped.Load() }

// Members returns the members, in no order.
func (g *Group) Members() []*Peer {
	var all []*Peer
	for i := range g.parts {
		pt := &g.parts[i]
		pt.mu.Lock()
		for _, m := range pt.members {
			all = append(all, m.p)
		}
		pt.mu.Unlock()
	}
	return all
}

// Broadcast sends a frame to all members, and returns to how many it is under way. It does not
// wait for them. The error is that of the codec.
func (g *Group) Broadcast(frame []byte) (n int, err error) { return g.BroadcastExcept(frame, nil) }

// BroadcastExcept is Broadcast to all members but one; nil is nobody.
func (g *Group) BroadcastExcept(frame []byte, except *Peer) (n int, err error) {
	b, err := g.codec.Append(nil, frame)
	if err != nil {
		return 0, err
	}
	return g.BroadcastEncoded(b, except), nil
}

// BroadcastEncoded is BroadcastExcept for bytes that the codec has made already, one or more
// whole frames. They must not be changed any more.
func (g *Group) BroadcastEncoded(b []byte, except *Peer) (n int) {
	var skip *member
	if except != nil {
		skip = g.member(except)
	}
	for i := range g.parts {
		n += g.parts[i].add(g, segment{b: b, except: except}, skip, nil)
	}
	return n
}

func (g *Group) member(p *Peer) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.membership(g); i >= 0 {
		return p.groups[i]
	}
	return nil
}

// BroadcastTo is Broadcast to the members for which match returns true. It is called for each,
// in the caller's goroutine, and must not use the group.
func (g *Group) BroadcastTo(frame []byte, match func(p *Peer) bool) (n int, err error) {
	b, err := g.codec.Append(nil, frame)
	if err != nil {
		return 0, err
	}
	for i := range g.parts {
		n += g.parts[i].add(g, segment{b: b}, nil, match)
	}
	return n, nil
}

// add gives a segment to the part's worker, and returns for how many members it is.
func (pt *part) add(g *Group, s segment, skip *member, match func(*Peer) bool) (n int) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	for pt.bytes > maxPending {
		pt.taken.Wait()
	}
	n = len(pt.members)
	if skip != nil && skip.index < n && pt.members[skip.index] == skip { // it has not left meanwhile
		n--
	}
	if match != nil {
		s.only = make(map[*member]struct{})
		for _, m := range pt.members {
			if match(m.p) {
				s.only[m] = struct{}{}
			}
		}
		n = len(s.only)
	}
	if n == 0 {
		return 0
	}
	pt.seq++
	s.seq = pt.seq
	pt.pending = append(pt.pending, s)
	pt.bytes += len(s.b)
	if !pt.working {
		pt.working = true
		go pt.work(g)
	}
	return n
}

// work sends what waits until nothing does.
func (pt *part) work(g *Group) {
	w := worker{g: g}
	for {
		pt.mu.Lock()
		w.segments, pt.pending = pt.pending, w.segments[:0]
		if len(w.segments) == 0 {
			pt.pending, pt.working = nil, false
			pt.mu.Unlock()
			return
		}
		pt.bytes = 0
		pt.taken.Broadcast()
		w.members = append(w.members[:0], pt.members...)
		pt.mu.Unlock()
		w.all()
		pt.handedOver(w.segments[len(w.segments)-1].seq)
		clear(w.segments)
		clear(w.members)
	}
}

func (pt *part) handedOver(seq uint64) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	pt.sent = seq
	pt.taken.Broadcast()
}

// Wait returns when all that has been broadcast so far was given to its members: to their
// sockets, or to their queues. It does not wait for the members.
func (g *Group) Wait() {
	for i := range g.parts {
		pt := &g.parts[i]
		pt.mu.Lock()
		for seq := pt.seq; pt.sent < seq; {
			pt.taken.Wait()
		}
		pt.mu.Unlock()
	}
}
