package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"goranch/transport"
)

// Handle returns a protocol that serves each connection with a handler of its own, which
// newHandler makes. It panics if the options are not valid, as [Options.Validate] tells, for that
// is a mistake of the program.
//
// While a connection is idle it has one goroutine, no buffer, and no timer.
func Handle(newHandler func() Handler, opts Options) Protocol {
	if err := opts.Validate(); err != nil {
		panic("protocol: " + err.Error())
	}
	if newHandler == nil {
		panic("protocol: Handle needs a function that makes handlers")
	}
	def(&opts.Mailbox, DefaultMailbox)
	def(&opts.FlushTime, DefaultFlushTime)
	if opts.Codec == nil {
		opts.Codec = Raw{}
	}
	opts.Queue = opts.Queue.withDefaults()
	return &handling{Options: opts, make: newHandler, wheel: newWheel(resolution(opts))}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// handling is the protocol that Handle returns.
type handling struct {
	Options
	make  func() Handler
	wheel *wheel
}

// What makes the reader come back without the connection having ended.
var (
	errStop    = errors.New("a callback has ended the connection")
	errUpgrade = errors.New("a callback has asked for an upgrade")
)

// Serve runs one connection.
func (e *handling) Serve(ctx context.Context, conn *transport.Conn) (err error) {
	p := &Peer{conn: conn, ctx: ctx, e: e}
	p.out.conn, p.out.opts = conn, &e.Queue
	defer func() {
		var panicked *Panicked
		if v := recover(); v != nil {
			panicked = &Panicked{v, debug.Stack()}
			err = panicked
		} else {
			errors.As(err, &panicked) // in another goroutine
		}
		if panicked != nil {
			defer panic(panicked) // goes on, after HandleClose
		}
		p.finish(err)
	}()
	return p.run()
}

// run calls the handler until the connection is to end, and returns why.
func (p *Peer) run() error {
	p.h = p.e.make()
	err := p.connect()
	for {
		if p.upgrading(err) {
			err = p.upgrade()
		}
		if err != nil {
			return p.reason(err)
		}
		_, err = p.conn.WriteTo((*reader)(p))
		if err == nil {
			err = io.EOF
			if len(p.part) > 0 {
				err = io.ErrUnexpectedEOF
			}
		}
	}
}

// connect begins with the first callback.
func (p *Peer) connect() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.startTimers()
	if c, ok := p.h.(Connecter); ok {
		return p.apply(c.HandleConnect(p))
	}
	return nil
}

// reader is a Peer, as the connection writes to it what has arrived.
type reader Peer

// Write handles the frames in b, and keeps what is left of one.
func (r *reader) Write(b []byte) (int, error) {
	p, all := (*Peer)(r), len(b)
	for len(p.part) > 0 && len(b) > 0 {
		n := len(b)
		if p.need > len(p.part) {
			n = min(n, p.need-len(p.part)) // the rest is handled where it is
		}
		p.keep(b[:n])
		b = b[n:]
		rest, err := p.frames(p.part)
		if err != nil {
			return 0, err
		}
		p.kept(rest)
	}
	rest, err := p.frames(b)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 {
		p.keep(rest)
	}
	return all, nil
}

// frames handles the whole frames in b and returns what is left. Answers to several go out
// together.
func (p *Peer) frames(b []byte) (rest []byte, err error) {
	held := false
	for len(b) > 0 {
		frame, took, need, err := p.e.Codec.Decode(b)
		if err != nil {
			return nil, err
		}
		if p.need = need; took == 0 {
			break
		}
		if b = b[took:]; len(b) > 0 && !held {
			held = true
			p.out.hold()
			defer p.out.letGo()
		}
		if err := p.data(frame); err != nil {
			if err == errUpgrade && len(b) > 0 {
				return nil, fmt.Errorf("upgrade to %s: %d bytes: %w", p.next.Name(), len(b), transport.ErrBuffered)
			}
			return nil, err
		}
	}
	return b, nil
}

// data has the handler handle one frame.
func (p *Peer) data(frame []byte) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.timers != nil {
		p.frameArrived()
	}
	if p.ending.Load() {
		return errStop
	}
	return p.apply(p.h.HandleData(p, frame))
}

// apply does what a callback wants. p.turn is held.
func (p *Peer) apply(a Action) error {
	for {
		if a.timed {
			p.setTimeout(a)
		}
		switch a.do {
		case stop:
			p.end(a.err)
			return errStop
		case upgrade:
			if p.next = a.to; a.to == nil {
				p.end(errors.New("a callback has asked for an upgrade to nothing"))
				return errStop
			}
			return errUpgrade
		case switchTo:
			if a.handler == nil {
				p.end(errors.New("a callback has switched to no handler"))
				return errStop
			}
			p.h = a.handler
			p.startTicks()
			if c, ok := p.h.(Connecter); ok {
				a = c.HandleConnect(p)
				continue
			}
		}
		return nil
	}
}

// guarded runs a callback in a goroutine that is not the reader's.
func (p *Peer) guarded(call func(h Handler) Action) {
	returned := false
	p.turn.Lock()
	defer p.turn.Unlock()
	defer func() {
		if !returned { // before anybody else has a turn
			p.end(&Panicked{Value: recover(), Stack: debug.Stack()})
		}
	}()
	if !p.ended && !p.ending.Load() && p.apply(call(p.h)) == errUpgrade {
		p.conn.SetReadDeadline(time.Unix(1, 0)) // the reader comes back for it
	}
	returned = true
}

// upgrading reports whether the reader came back for an upgrade.
func (p *Peer) upgrading(err error) bool {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.next != nil && (err == errUpgrade || errors.Is(err, os.ErrDeadlineExceeded)) && !p.ending.Load()
}

func (p *Peer) upgrade() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	t := p.next
	p.next = nil
	p.conn.SetReadDeadline(time.Time{})
	if n := len(p.part); n > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", t.Name(), n, transport.ErrBuffered)
	}
	if err := p.out.pause(p.ctx); err != nil {
		return err
	}
	err := ErrEnded // should it panic
	defer func() { p.out.resume(err) }()
	err = p.conn.Upgrade(p.ctx, t)
	return err
}

// reason returns why the connection has ended: what was decided goes before what came of it.
func (p *Peer) reason(err error) error {
	if oerr := p.out.Err(); oerr != nil && !errors.Is(err, ErrShutdown) {
		err = oerr // the cause of a read that fails then
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending.Load() {
		return p.why
	}
	return err
}

// finish is called exactly once, when the connection has ended.
func (p *Peer) finish(err error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.ended = true
	p.stopTimers()
	p.mu.Lock()
	p.mail.closed = true
	p.mu.Unlock()
	p.leaveAll()
	p.kept(nil)
	if c, ok := p.h.(Closer); ok {
		defer c.HandleClose(p, err)
	}
	var panicked *Panicked
	if errors.As(err, &panicked) {
		p.flush(-1)
		return
	}
	if s, ok := p.h.(Shutdowner); ok && errors.Is(err, ErrShutdown) {
		s.HandleShutdown(p)
	}
	p.flush(p.e.FlushTime)
}

// flush lets out what waits, within that time.
func (p *Peer) flush(within time.Duration) {
	if within > 0 && p.out.busy() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		p.out.Wait(ctx)
	}
	if !p.out.end() {
		p.conn.Abort() // a goodbye would wait for the peer too
		p.out.Wait(context.Background())
	}
}
