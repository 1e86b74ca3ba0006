package protocol

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"goranch/transport"
)

// ErrEnded is returned by the methods of a [Peer] whose connection has ended.
var ErrEnded = errors.New("the connection has ended")

// Peer is the other end of a connection, as its [Handler] and everybody else sees it. Its
// methods may be called from any goroutine, and after the connection has ended.
type Peer struct {
	conn *transport.Conn
	ctx  context.Context
	e    *handling
	out  Outbox

	turn  sync.Mutex // held by who runs a callback; before mu
	h     Handler
	ended bool // no more callbacks
	mine  bool // the reader has the turn; this and err are the reader's
	err   error

	mu     sync.Mutex // guards what follows
	mail   mailbox
	why    error       // why the connection is to end, once that is decided
	ending atomic.Bool // that it is; set with mu held
	groups []*member

	timers *timers // nil: none

	part []byte              // a frame of which the rest has not arrived; the reader's
	need int                 // how many bytes it takes, if that is known
	next transport.Transport // to upgrade to
}

// Conn returns the connection, for its addresses, counters and TLS state. Reading it, writing
// to it, or closing it, is the business of the Peer.
func (p *Peer) Conn() *transport.Conn { return p.conn }

// Context returns the connection's context, which ends when the connection is to end.
func (p *Peer) Context() context.Context { return p.ctx }

// Send sends a frame, without waiting for the peer unless that is the policy, and does not keep
// it. The error says why it will not arrive: it is too large for the codec, [ErrDropped],
// [ErrQueueFull], [ErrEnded], or that of a write.
func (p *Peer) Send(frame []byte) error {
	if p.e.raw {
		return p.out.Send(frame)
	}
	return p.sendFramed(frame)
}

func (p *Peer) sendFramed(frame []byte) error {
	b, err := p.encode(frame)
	if err == nil {
		err = p.out.Send(*b)
	}
	putScratch(b)
	return err
}

// encode returns the frame as it goes over the wire, in a buffer to be given back.
//
//go:noinline
func (p *Peer) encode(frame []byte) (b *[]byte, err error) {
	b = scratch.Get().(*[]byte)
	*b, err = p.e.Codec.Append(*b, frame)
	return b, err
}

// SendAlone is Send for a frame that must not go out in one write with others; see [Outbox.SendAlone].
func (p *Peer) SendAlone(frame []byte) error {
	b, err := p.encode(frame)
	if err == nil {
		err = p.out.SendAlone(*b)
	}
	putScratch(b)
	return err
}

// SendEncoded sends bytes as they are, one or more whole frames that the codec has made.
func (p *Peer) SendEncoded(b []byte) error { return p.out.Send(b) }

// Outbox returns what sends to the peer, for its counters and to wait for it.
func (p *Peer) Outbox() *Outbox { return &p.out }

// Close ends the connection from outside, as [Fail] does from a callback, or [Stop] if err is nil.
func (p *Peer) Close(err error) { p.end(err) }

// end decides why the connection ends, the first time it is called, and has its goroutine
// come back from reading.
func (p *Peer) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending.Load() {
		return
	}
	p.ending.Store(true)
	p.why = err
	p.conn.StopReading(ErrEnded)
}

// Post gives msg to the connection's handler, a [Messenger]; to others it is lost. It does not
// wait. The error is [ErrMailboxFull] or [ErrEnded]; then the message will not be handled. One
// that was taken is not handled either if the connection ends before its turn.
func (p *Peer) Post(msg any) error {
	p.mu.Lock()
	if p.ending.Load() || p.mail.closed {
		p.mu.Unlock()
		return ErrEnded
	}
	if len(p.mail.messages) >= p.e.Mailbox {
		switch p.e.FullMailbox {
		case ForgetOldest:
			p.mail.dropOldest()
		case CloseBusy:
			p.mu.Unlock()
			p.end(ErrMailboxFull)
			return ErrMailboxFull
		default:
			p.mu.Unlock()
			return ErrMailboxFull
		}
	}
	p.mail.messages = append(p.mail.messages, msg)
	p.deliver()
	p.mu.Unlock()
	return nil
}

// due notes that a tick or a timeout has come due.
func (p *Peer) due(what events) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.mail.closed {
		p.mail.due |= what
		p.deliver()
	}
}

// deliver has the mailbox emptied. p.mu is held.
func (p *Peer) deliver() {
	if !p.mail.delivering {
		p.mail.delivering = true
		go p.empty()
	}
}

// mailbox is what waits for the handler's turn.
type mailbox struct {
	messages   []any
	due        events
	delivering bool // a goroutine is emptying it
	closed     bool
}

// events are those that are not counted: what is due is due once.
type events uint8

const (
	tickDue events = 1 << iota
	timeoutDue
)

func (m *mailbox) dropOldest() {
	copy(m.messages, m.messages[1:])
	m.messages[len(m.messages)-1] = nil
	m.messages = m.messages[:len(m.messages)-1]
}

// empty handles what is in the mailbox until there is nothing left.
func (p *Peer) empty() {
	var batch []any
	for {
		p.mu.Lock()
		clear(batch)
		batch, p.mail.messages = p.mail.messages, batch[:0]
		due := p.mail.due
		p.mail.due = 0
		if len(batch) == 0 && due == 0 {
			p.mail.delivering = false
			p.mail.messages = nil // an idle connection keeps no room for messages
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if due&tickDue != 0 {
			p.guarded(func(h Handler) Action { return tick(h, p) })
		}
		if due&timeoutDue != 0 {
			p.guarded(func(h Handler) Action { return p.timeout(h) })
		}
		for _, msg := range batch {
			p.guarded(func(h Handler) Action { return message(h, p, msg) })
		}
	}
}

func tick(h Handler, p *Peer) Action {
	if t, ok := h.(Ticker); ok {
		return t.HandleTick(p)
	}
	return Action{}
}

func message(h Handler, p *Peer, msg any) Action {
	if m, ok := h.(Messenger); ok {
		return m.HandleMessage(p, msg)
	}
	return Action{}
}
