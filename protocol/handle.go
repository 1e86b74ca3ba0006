package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/transport"
)

// Handle returns a protocol that serves each connection with a handler of its own, which
// newHandler makes. It panics if the options are not valid, as [Options.Validate] tells, for that
// is a mistake of the program.
//
// While a connection is idle it has no buffer and no timer; and if its listener and its socket allow that,
// after a while no goroutine either, as [Sleeper] tells. Else it has one.
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
	_, raw := opts.Codec.(Raw)
	return &handling{Options: opts, make: newHandler, raw: raw, wheel: newWheel(resolution(opts))}
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
	raw   bool // frames are sent as they are
	wheel *wheel
}

// What makes the reader come back without the connection having ended.
var (
	errStop    = errors.New("a callback has ended the connection")
	errUpgrade = errors.New("a callback has asked for an upgrade")
)

// Serve runs one connection: it calls the handler until the connection is to end.
func (e *handling) Serve(ctx context.Context, conn *transport.Conn) error {
	s := e.Begin(ctx, conn)
	for {
		if err := s.Run(); err != idle.ErrPark {
			return err
		}
	}
}

// Begin makes this a Sleeper.
func (e *handling) Begin(ctx context.Context, conn *transport.Conn) idle.Session {
	p := &Peer{conn: conn, ctx: ctx, e: e}
	p.out.conn, p.out.eng, p.out.opts = conn, engine.Of(conn), &e.Queue
	return serving{p}
}

// serving keeps Run from being a method of Peer for all to see.
type serving struct{ *Peer }

// Run and all below it, down to the system call, are written so that they need little stack:
// that of an idle connection stays as large as its last frame has made it.
func (s serving) Run() error {
	p := s.Peer
	defer p.leave()
	if p.err = nil; p.h == nil {
		p.err = p.connect()
	}
	for p.err == nil || p.upgraded() {
		l := p.out.eng.PooledReader()
		for p.err == nil {
			p.arrived(l.Next(engine.ReadSize))
		}
		l.Release()
	}
	if p.err != idle.ErrPark {
		p.err = p.reason(p.err)
		p.peerEnded()
	}
	return p.err
}

// arrived handles what has arrived, and an error that came with it.
func (p *Peer) arrived(b []byte, err error) {
	p.err = err
	if len(b) > 0 {
		switch {
		case p.e.raw:
			err = p.data(b)
		case len(p.part) > 0:
			err = p.framed(b)
		default:
			if b, err = p.frames(b); len(b) > 0 && err == nil {
				p.keep(b)
			}
		}
		if err != nil {
			p.err = err
		}
	}
}

// leave is the end of Run. The panic of a callback goes on, after HandleClose.
func (p *Peer) leave() {
	var panicked *PanicError
	if v := recover(); v != nil {
		panicked = &PanicError{v, debug.Stack()}
		p.err = panicked
	} else if p.err == idle.ErrPark {
		return
	} else {
		errors.As(p.err, &panicked) // in another goroutine
	}
	if panicked != nil {
		defer panic(panicked)
	}
	p.finish(p.err)
}

// upgraded reports whether the reader came back for an upgrade that has succeeded.
//
//go:noinline
func (p *Peer) upgraded() bool {
	if !p.upgrading(p.err) {
		return false
	}
	p.err = p.upgrade()
	return p.err == nil
}

// connect begins with the first callback.
//
//go:noinline
func (p *Peer) connect() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.h = p.e.make()
	p.startTimers()
	if c, ok := p.h.(Connecter); ok {
		return p.apply(c.HandleConnect(p))
	}
	return nil
}

// framed handles the frames in b, behind the part of one that is kept, and keeps what is left.
//
//go:noinline
func (p *Peer) framed(b []byte) error {
	for len(p.part) > 0 && len(b) > 0 {
		n := len(b)
		if p.need > len(p.part) {
			n = min(n, p.need-len(p.part)) // the rest is handled where it is
		}
		p.keep(b[:n])
		b = b[n:]
		if len(p.part) < p.need {
			break
		}
		rest, err := p.frames(p.part)
		if err != nil {
			return err
		}
		if len(rest) < len(p.part) {
			p.kept(rest)
		}
	}
	rest, err := p.frames(b)
	if err == nil && len(rest) > 0 {
		p.keep(rest)
	}
	return err
}

// frames handles the whole frames in b and returns what is left. Answers to several go out
// together.
func (p *Peer) frames(b []byte) (rest []byte, err error) {
	held := false
	for len(b) > 0 {
		frame, took, need, derr := p.e.Codec.Decode(b)
		if err = derr; err != nil {
			break
		}
		if p.need = need; took == 0 {
			break
		}
		if b = b[took:]; len(b) > 0 && !held {
			held = true
			p.out.hold()
		}
		if err = p.data(frame); err != nil {
			err = p.unless(err, b)
			break
		}
	}
	if held {
		p.out.letGo()
	}
	return b, err
}

// unless makes an upgrade that the peer did not wait for an error.
//
//go:noinline
func (p *Peer) unless(err error, rest []byte) error {
	if err == errUpgrade && len(rest) > 0 {
		return fmt.Errorf("upgrade to %s: %d bytes: %w", p.next.Name(), len(rest), transport.ErrBuffered)
	}
	return err
}

// data has the handler handle one frame. A panic leaves the turn with the reader, who ends
// the connection then.
func (p *Peer) data(frame []byte) (err error) {
	p.turn.Lock()
	p.mine = true
	if p.timers != nil {
		p.frameArrived()
	}
	if p.ending.Load() {
		err = errStop
	} else {
		err = p.apply(p.h.HandleData(p, frame))
	}
	p.mine = false
	p.turn.Unlock()
	return err
}

// apply does what a callback wants. p.turn is held.
//
//go:noinline
func (p *Peer) apply(a Action) error {
	for {
		if a.do&timed != 0 {
			p.setTimeout(a)
		}
		switch a.do.what() {
		case stop:
			err, _ := a.with.(error)
			p.end(err)
			return errStop
		case upgrade:
			t, ok := a.with.(transport.Transport)
			if !ok {
				p.end(errors.New("a callback has asked for an upgrade to nothing"))
				return errStop
			}
			p.next = t
			return errUpgrade
		case switchTo:
			h, ok := a.with.(Handler)
			if !ok {
				p.end(errors.New("a callback has switched to no handler"))
				return errStop
			}
			p.h = h
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
			p.end(&PanicError{Value: recover(), Stack: debug.Stack()})
		}
	}()
	if !p.ended && !p.ending.Load() {
		if p.apply(call(p.h)) == errUpgrade {
			p.conn.SetReadDeadline(time.Unix(1, 0)) // the reader comes back for it
		}
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

// peerEnded tells a handler that wants to know. A panic leaves the turn with the reader, as in data.
//
//go:noinline
func (p *Peer) peerEnded() {
	if p.err != io.EOF {
		return
	}
	p.turn.Lock()
	p.mine = true
	e, ok := p.h.(Ender)
	if ok {
		e.HandleEnd(p, p.part)
	}
	p.mine = false
	p.turn.Unlock()
	if ok {
		p.err = p.reason(p.err) // it may have been decided meanwhile
	}
}

// reason returns why the connection has ended: what was decided goes before what came of it.
func (p *Peer) reason(err error) error {
	if err == io.EOF && len(p.part) > 0 && !p.takesRest() {
		err = io.ErrUnexpectedEOF
	}
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

func (p *Peer) takesRest() bool {
	p.turn.Lock()
	defer p.turn.Unlock()
	_, ok := p.h.(Ender)
	return ok
}

// finish is called exactly once, when the connection has ended.
func (p *Peer) finish(err error) {
	if !p.mine { // else HandleData has panicked
		p.turn.Lock()
	}
	defer p.turn.Unlock()
	p.ended = true
	p.stopTimers()
	p.mu.Lock()
	p.mail.closed = true
	p.mu.Unlock()
	if c, ok := p.h.(Closer); ok {
		defer c.HandleClose(p, err)
	}
	p.left(err)
	freePart(p.part)
	p.part = nil
	var panicked *PanicError
	if errors.As(err, &panicked) {
		p.flush(-1)
		return
	}
	if s, ok := p.h.(Shutdowner); ok && errors.Is(err, ErrShutdown) {
		s.HandleShutdown(p)
	}
	p.flush(p.e.FlushTime)
}

// left is the first of what happens when the connection has ended.
func (p *Peer) left(err error) {
	defer p.leaveAll() // also if the callback panics
	if l, ok := p.h.(Leaver); ok {
		l.HandleLeave(p, err, p.part)
	}
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
