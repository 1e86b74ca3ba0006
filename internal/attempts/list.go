package attempts

// list is a ring of entries, the one that failed longest ago first.
type list struct {
	root entry // next is the oldest, prev the newest
	n    int
}

func (l *list) oldest() *entry { return l.root.next }

func (l *list) add(e *entry) {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
	e.half, e.prev, e.next = l, l.root.prev, &l.root
	e.prev.next, l.root.prev = e, e
	l.n++
}

func (l *list) remove(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.half, e.prev, e.next = nil, nil, nil
	l.n--
}
