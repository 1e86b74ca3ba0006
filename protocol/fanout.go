package protocol

// batchBytes is how much is written to a member at once, so that a slow one does not hold
// more of the worker's time than others, and sockets take it without a rest.
const batchBytes = 64 << 10

// worker sends what was broadcast to its members, in batches of as many segments as fit.
type worker struct {
	g        *Group
	segments []segment
	members  []*member

	joint   []byte             // a batch in one piece
	part    []byte             // what of it is for one member
	excepts map[*Peer]struct{} // who is left out by a segment of the batch
}

func (w *worker) all() {
	for rest := w.segments; len(rest) > 0; {
		n, size := 1, len(rest[0].b)
		for n < len(rest) && size+len(rest[n].b) <= batchBytes {
			size += len(rest[n].b)
			n++
		}
		w.batch(rest[:n])
		rest = rest[n:]
	}
}

// batch sends some segments to all members.
func (w *worker) batch(segments []segment) {
	whole := segments[0].b
	if len(segments) > 1 {
		w.joint = w.joint[:0]
		for _, s := range segments {
			w.joint = append(w.joint, s.b...)
		}
		whole = w.joint
	}
	chosen := w.chooses(segments)
	first := segments[0].seq
	for _, m := range w.members {
		if m.left.Load() {
			continue
		}
		b := whole
		if _, excepted := w.excepts[m.p]; excepted || chosen || m.joined >= first {
			b = w.share(segments, m)
		}
		if len(b) > 0 && m.p.out.TrySend(b) != nil {
			w.g.dropped.Add(1)
		}
	}
}

// chooses reports whether a segment is for some members only, and notes who is excepted.
func (w *worker) chooses(segments []segment) (chosen bool) {
	clear(w.excepts)
	for _, s := range segments {
		if s.except != nil {
			if w.excepts == nil {
				w.excepts = make(map[*Peer]struct{})
			}
			w.excepts[s.except] = struct{}{}
		}
		chosen = chosen || s.only != nil
	}
	return chosen
}

// share returns what of the batch is for m.
func (w *worker) share(segments []segment, m *member) []byte {
	w.part = w.part[:0]
	for _, s := range segments {
		if s.seq <= m.joined || s.except == m.p {
			continue
		}
		if s.only != nil {
			if _, ok := s.only[m]; !ok {
				continue
			}
		}
		w.part = append(w.part, s.b...)
	}
	return w.part
}
