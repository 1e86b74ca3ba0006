package session

// A detached session is in two chains; entry.links has its position in each.
const (
	ofClass = iota
	ofPeer
)

// chain is a list of sessions. It has no lock of its own.
type chain[T any] struct{ first, last *entry[T] }

type link[T any] struct{ prev, next *entry[T] }

// push adds e at the end.
func (c *chain[T]) push(e *entry[T], kind int) {
	e.links[kind].prev = c.last
	if c.last == nil {
		c.first = e
	} else {
		c.last.links[kind].next = e
	}
	c.last = e
}

// remove removes e, which is in c.
func (c *chain[T]) remove(e *entry[T], kind int) {
	at := &e.links[kind]
	if at.prev == nil {
		c.first = at.next
	} else {
		at.prev.links[kind].next = at.next
	}
	if at.next == nil {
		c.last = at.prev
	} else {
		at.next.links[kind].prev = at.prev
	}
	*at = link[T]{}
}
