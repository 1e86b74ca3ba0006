package protocol

import (
	"runtime/debug"
	"time"
)

// mailbox holds the messages and timer events that wait for a callback. It is guarded by Peer.mu.
type mailbox struct {
	messages   *[]any // nil: none; most connections never get a message
	due        events
	delivering bool // a goroutine delivers them
	closed     bool
}

// events is a set of timer events.
type events uint8

const (
	tickDue events = 1 << iota
	timeoutDue
)

func (m *mailbox) len() int {
	if m.messages == nil {
		return 0
	}
	return len(*m.messages)
}

func (m *mailbox) add(msg any) {
	if m.messages == nil {
		m.messages = new([]any)
	}
	*m.messages = append(*m.messages, msg)
}

func (m *mailbox) dropOldest() {
	all := *m.messages
	copy(all, all[1:])
	all[len(all)-1] = nil
	*m.messages = all[:len(all)-1]
}

// Post delivers msg to the connection's handler if it has HandleMessage, else msg is discarded.
// Post does not wait. The error is [ErrMailboxFull] or [ErrEnded]; the message is not delivered
// then. A message is also lost if the connection ends before it is delivered.
func (p *Peer) Post(msg any) error {
	p.mu.Lock()
	if p.ending.Load() || p.mail.closed {
		p.mu.Unlock()
		return ErrEnded
	}
	if p.mail.len() >= p.hp.Mailbox {
		switch p.hp.FullMailbox {
		case DropOldest:
			p.mail.dropOldest()
		case CloseSlow:
			p.mu.Unlock()
			p.end(ErrMailboxFull)
			return ErrMailboxFull
		default:
			p.mu.Unlock()
			return ErrMailboxFull
		}
	}
	p.mail.add(msg)
	p.startDelivery()
	p.mu.Unlock()
	return nil
}

// postEvent adds a timer event.
func (p *Peer) postEvent(e events) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.mail.closed {
		p.mail.due |= e
		p.startDelivery()
	}
}

// startDelivery starts the goroutine that empties the mailbox, unless it runs. p.mu is held.
func (p *Peer) startDelivery() {
	if !p.mail.delivering {
		p.mail.delivering = true
		go p.deliver()
	}
}

// deliver calls the handler until the mailbox is empty.
func (p *Peer) deliver() {
	var batch []any
	for {
		p.mu.Lock()
		clear(batch)
		if p.mail.messages != nil {
			batch, *p.mail.messages = *p.mail.messages, batch[:0]
		}
		due := p.mail.due
		p.mail.due = 0
		if len(batch) == 0 && due == 0 {
			p.mail.delivering = false
			p.mail.messages = nil // an idle connection holds no buffer
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if due&tickDue != 0 {
			p.call(func(h Handler) Action { return tick(h, p) })
		}
		if due&timeoutDue != 0 {
			p.call(func(h Handler) Action { return p.timeout(h) })
		}
		for _, msg := range batch {
			p.call(func(h Handler) Action { return message(h, p, msg) })
		}
	}
}

func tick(h Handler, p *Peer) Action {
	if t, ok := h.(ticker); ok {
		return t.HandleTick(p)
	}
	return Action{}
}

func message(h Handler, p *Peer, msg any) Action {
	if m, ok := h.(messenger); ok {
		return m.HandleMessage(p, msg)
	}
	return Action{}
}

// call runs a callback in a goroutine other than the reader's.
func (p *Peer) call(callback func(h Handler) Action) {
	returned := false
	p.callMu.Lock()
	defer p.callMu.Unlock()
	defer func() {
		if !returned { // callMu is still held, so no other callback runs in between
			p.end(&PanicError{Value: recover(), Stack: debug.Stack()})
		}
	}()
	if !p.closed && !p.ending.Load() {
		if p.apply(callback(p.h)) == errUpgrade {
			p.conn.SetReadDeadline(time.Unix(1, 0)) // interrupts the reader, which runs the upgrade
		}
	}
	returned = true
}
