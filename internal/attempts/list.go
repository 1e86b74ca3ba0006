package attempts

// list is a ring of entries in the order of their last failure, the oldest first.
type list struct {
	root entry // root.next is the oldest entry, root.prev the newest
	n    int
}

func (l *list) oldest() *entry { return l.root.next }

func (l *list) add(e *entry) {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
	e.list, e.prev, e.next = l, l.root.prev, &l.root
	e.prev.next, l.root.prev = e, e
	l.n++
}

func (l *list) remove(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.list, e.prev, e.next = nil, nil, nil
	l.n--
}
