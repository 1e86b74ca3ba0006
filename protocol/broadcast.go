package protocol

// Broadcast encodes a frame and sends it to all members except one; nil excludes no member. It
// returns the number of members, and does not wait for them. The error is that of the codec.
func (g *Group) Broadcast(frame []byte, except *Peer) (n int, err error) {
	b, err := g.encode(frame)
	if err != nil {
		return 0, err
	}
	g.start()
	skip := g.membership(except)
	for i := range g.shards {
		n += g.shards[i].add(segment{b: b, except: except}, skip, nil)
	}
	return n, nil
}

// BroadcastEncoded sends b, one or more frames that the codec has encoded, to the members for which
// match returns true; a nil match selects all. It returns the number of these members. b must not
// be changed afterwards. match is called in the goroutine of the caller, and must not use the
// group.
func (g *Group) BroadcastEncoded(b []byte, match func(p *Peer) bool) (n int) {
	g.start()
	for i := range g.shards {
		n += g.shards[i].add(segment{b: b}, nil, match)
	}
	return n
}

// Wait returns when p has received all broadcasts so far: they are in its socket or its outbox. It
// returns at once if p is not a member. A nil p waits for all members.
func (g *Group) Wait(p *Peer) {
	g.start()
	if p != nil {
		if g.membership(p) != nil {
			g.shardOf(p).wait()
		}
		return
	}
	for i := range g.shards {
		g.shards[i].wait()
	}
}

// add passes a segment to the worker of the shard, and returns the number of members that it is
// for.
func (sh *shard) add(s segment, skip *member, match func(*Peer) bool) (n int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for sh.bytes > maxPending {
		sh.changed.Wait()
	}
	n = len(sh.members)
	if skip != nil && int(skip.index) < n && sh.members[skip.index].m == skip { // still a member, of this shard
		n--
	}
	if match != nil {
		s.only = make(map[*member]struct{})
		for i := range sh.members {
			if m := sh.members[i].m; match(m.p) {
				s.only[m] = struct{}{}
			}
		}
		n = len(s.only)
	}
	if n == 0 {
		return 0
	}
	sh.seq++
	s.seq = sh.seq
	sh.pending = append(sh.pending, s)
	sh.bytes += len(s.b)
	if !sh.working {
		sh.working = true
		go sh.work()
	}
	return n
}

// work sends the pending segments until none is left.
func (sh *shard) work() {
	var w worker
	for {
		sh.mu.Lock()
		w.segments, sh.pending = sh.pending, w.segments[:0]
		if len(w.segments) == 0 {
			sh.pending, sh.working = nil, false
			sh.mu.Unlock()
			return
		}
		sh.bytes = 0
		sh.changed.Broadcast()
		w.members = append(w.members[:0], sh.members...)
		sh.mu.Unlock()
		w.sendAll()
		sh.setSent(w.segments[len(w.segments)-1].seq)
		clear(w.segments)
		clear(w.members)
	}
}

func (sh *shard) setSent(seq uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.sent = seq
	sh.changed.Broadcast()
}

// wait waits until everything broadcast so far was sent.
func (sh *shard) wait() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for seq := sh.seq; sh.sent < seq; {
		sh.changed.Wait()
	}
}

// batchBytes is the most that is sent to a member at once, so that all members make similar
// progress, and most sockets take a batch completely.
const batchBytes = 64 << 10

// worker sends segments to the members of a shard, in batches.
type worker struct {
	segments []segment
	members  []slot
	batches  int // sent of segments

	// Buffers that are used again for each batch.
	joined  []byte               // the segments of the batch
	partial []byte               // those for one member
	excepts map[*Outbox]struct{} // of the peers that a segment of the batch excludes
}

func (w *worker) sendAll() {
	w.batches = 0
	for rest := w.segments; len(rest) > 0; w.batches++ {
		n, size := 1, len(rest[0].b)
		for n < len(rest) && size+len(rest[n].b) <= batchBytes {
			size += len(rest[n].b)
			n++
		}
		w.sendBatch(rest[:n])
		rest = rest[n:]
	}
}

func (w *worker) sendBatch(segments []segment) {
	all := segments[0].b
	if len(segments) > 1 {
		w.joined = w.joined[:0]
		for _, s := range segments {
			w.joined = append(w.joined, s.b...)
		}
		all = w.joined
	}
	selective := w.inspect(segments)
	first := segments[0].seq
	for i := range w.members {
		s := &w.members[i]
		if w.batches > 0 && s.m.removed.Load() { // not in the first batch, just after members was copied
			continue
		}
		b := all
		if selective || s.joined >= first || w.isExcepted(s) {
			b = w.selectFor(s, segments)
		}
		if len(b) > 0 {
			s.out.send(b, false) // the outbox counts what it drops
		}
	}
}

// inspect reports whether a segment is for some members only, and collects the excluded peers.
func (w *worker) inspect(segments []segment) (selective bool) {
	clear(w.excepts)
	for _, s := range segments {
		if s.except != nil {
			if w.excepts == nil {
				w.excepts = make(map[*Outbox]struct{})
			}
			w.excepts[&s.except.out] = struct{}{}
		}
		selective = selective || s.only != nil
	}
	return selective
}

func (w *worker) isExcepted(s *slot) bool {
	if len(w.excepts) == 0 {
		return false
	}
	_, excepted := w.excepts[s.out]
	return excepted
}

// selectFor returns the segments of the batch that are for the member to.
func (w *worker) selectFor(to *slot, segments []segment) []byte {
	w.partial = w.partial[:0]
	for _, s := range segments {
		if s.seq <= to.joined || s.except == to.m.p {
			continue
		}
		if s.only != nil {
			if _, ok := s.only[to.m]; !ok {
				continue
			}
		}
		w.partial = append(w.partial, s.b...)
	}
	return w.partial
}
