package protocol

import (
	"errors"
	"io"
	"runtime/debug"

	"goranch/internal/idle"
	"goranch/transport"
)

// Run serves the connection until it ends or can be parked. Run and the functions that it calls, down
// to the system call, are written to use little stack: the stack of an idle connection keeps the size
// that its last frame required.
func (s session) Run(mayPark bool) error {
	p := s.Peer
	defer p.endRun()
	var inline *idle.InlinePolicy
	if mayPark {
		inline = &p.hp.inline
	}
	if p.h == nil {
		p.err = p.connect()
	} else {
		p.err = p.resumed()
	}
	for p.err == nil || p.upgraded() {
		r := p.out.eng.PooledReader(inline)
		for p.err == nil {
			if p.out.queuing.Load() {
				r.Release()
				p.err = p.awaitUnpaused()
			}
			if p.err == nil {
				p.received(r.Next(p.hp.readSize))
			}
		}
		r.Free()
	}
	if p.err != idle.ErrPark {
		p.err = p.endError(p.err)
		p.callEnder()
	}
	return p.err
}

// leave is the result of Ready if Run is to continue with err.
type needsGoroutine struct{ err error }

func (needsGoroutine) Error() string { return "the connection needs a goroutine" }

// resumed returns the error with which Run continues.
func (p *Peer) resumed() error {
	l, _ := p.err.(needsGoroutine)
	if l.err == errPaused {
		return p.pendingFrames()
	}
	return l.err
}

// maxReads is the number of reads without waiting after which Run continues, so that a peer that
// sends much does not delay others.
const maxReads = 4

// Ready handles the data that has arrived, in the goroutine of a lead. It leaves everything that may
// have to wait to Run.
func (s session) Ready(l *idle.Lead) error {
	p := s.Peer
	defer p.endRun()
	p.lead = true
	p.tryReads(l)
	p.lead = false
	switch {
	case p.err == idle.ErrPark:
		return p.err
	case p.err == nil, p.err == errUpgrade, p.err == errPaused, p.out.busy():
		p.err = needsGoroutine{p.err}
		return idle.ErrNeedsGoroutine
	}
	p.err = p.endError(p.err)
	p.callEnder()
	return p.err
}

// tryReads reads until there is no more data, and sets p.err to the result: nil if Run has to
// continue.
func (p *Peer) tryReads(l *idle.Lead) {
	p.err = nil
	for range maxReads {
		if p.out.queuing.Load() && p.awaitUnpaused() != nil {
			return
		}
		b, more, err := p.out.eng.TryNext(l, p.hp.readSize)
		if err == idle.ErrNeedsGoroutine {
			return
		}
		p.received(b, err)
		if p.err != nil {
			return
		}
		if !more {
			p.err = idle.ErrPark
			return
		}
	}
}

// Inline returns the policy of the connections of the protocol.
func (s session) Inline() *idle.InlinePolicy { return &s.hp.inline }

// endRun runs when Run or Ready returns or panics. It finishes the connection, unless it is to be
// parked or to continue in Run.
func (p *Peer) endRun() {
	v := recover()
	p.lead = false
	if v == nil {
		if _, continues := p.err.(needsGoroutine); continues || p.err == idle.ErrPark {
			return
		}
	}
	p.ended(v)
}

// ended finishes the connection. v is the value of a panic. A panic of a callback, in whatever
// goroutine, continues after HandleClose.
//
//go:noinline
func (p *Peer) ended(v any) {
	var panicked *PanicError
	if v != nil {
		panicked = &PanicError{v, debug.Stack()}
		p.err = panicked
	} else {
		errors.As(p.err, &panicked) // of a callback in another goroutine
	}
	if panicked != nil {
		defer panic(panicked)
	}
	p.finish(p.err)
}

// connect makes the handler and calls it for the first time.
//
//go:noinline
func (p *Peer) connect() error {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	h := p.hp.newHandler()
	checkCallbacks(h)
	p.h = h
	p.startTimers()
	if c, ok := p.h.(connecter); ok {
		return p.apply(c.HandleConnect(p))
	}
	return nil
}

// received handles the result of a read: data, an error, or both.
func (p *Peer) received(b []byte, err error) {
	p.err = err
	if len(b) > 0 {
		switch {
		case p.hp.raw:
			err = p.data(b)
		case len(p.partial) > 0:
			err = p.continueFrame(b)
		default:
			if b, err = p.frames(b); len(b) > 0 && (err == nil || err == errPaused) {
				p.appendPartial(b)
				p.conn.SetReceiving(err == nil)
			}
		}
		if err != nil {
			p.err = err
		}
	}
}

// continueFrame handles the frames in b, of which the first began in an earlier read.
//
//go:noinline
func (p *Peer) continueFrame(b []byte) error {
	for len(p.partial) > 0 && len(b) > 0 {
		n := len(b)
		if p.need > len(p.partial) {
			n = min(n, p.need-len(p.partial)) // frames after this one are not copied
		}
		p.appendPartial(b[:n])
		b = b[n:]
		if len(p.partial) < p.need {
			break
		}
		message := p.out.eng.Receiving()
		p.conn.SetReceiving(false) // a callback that takes long is not a slow peer
		rest, err := p.frames(p.partial)
		switch err {
		case nil:
		case errPaused:
			p.setPartial(rest)
			p.appendPartial(b)
			return err
		case errUpgrade:
			p.setPartial(rest)
			return p.checkUpgrade(err, b)
		default:
			return err
		}
		if len(rest) == len(p.partial) {
			p.out.eng.RestoreReceiving(message)
		} else {
			p.setPartial(rest)
		}
	}
	if len(b) > 0 && p.out.queuing.Load() {
		if err := p.awaitUnpaused(); err != nil {
			if err == errPaused {
				p.appendPartial(b)
			}
			return err
		}
	}
	rest, err := p.frames(b)
	if (err == nil || err == errPaused) && len(rest) > 0 {
		p.appendPartial(rest)
	}
	if err == nil && len(p.partial) > 0 {
		p.conn.SetReceiving(true)
	}
	return err
}

// pendingFrames handles the frames that were not handled because reading was paused, after the pause.
func (p *Peer) pendingFrames() error {
	if err := p.awaitUnpaused(); err != nil {
		return err
	}
	rest, err := p.frames(p.partial)
	if err == nil || err == errUpgrade {
		p.setPartial(rest)
		p.conn.SetReceiving(len(rest) > 0)
	}
	return err
}

// frames handles the complete frames in b and returns the rest. The outbox is corked while there
// are several, so that their answers are sent together.
func (p *Peer) frames(b []byte) (rest []byte, err error) {
	corked := false
	for len(b) > 0 {
		frame, n, need, derr := p.hp.Codec.Decode(b)
		if err = derr; err != nil {
			break
		}
		if p.need = need; n == 0 {
			break
		}
		if b = b[n:]; len(b) > 0 && !corked {
			corked = true
			p.out.cork()
		}
		if err = p.data(frame); err != nil {
			err = p.checkUpgrade(err, b)
			break
		}
		if len(b) > 0 && p.out.queuing.Load() {
			if err = p.awaitUnpaused(); err != nil {
				break
			}
		}
	}
	if corked {
		p.out.uncork()
	}
	return b, err
}

// data calls the handler with one frame. After a panic callMu stays locked, so that no callback
// runs before the reader has ended the connection.
func (p *Peer) data(frame []byte) (err error) {
	p.callMu.Lock()
	p.inCallback = true
	if p.timers != nil {
		p.frameArrived()
	}
	if p.ending.Load() {
		err = errStop
	} else {
		err = p.apply(p.h.HandleData(p, frame))
	}
	p.inCallback = false
	p.callMu.Unlock()
	return err
}

// apply executes the result of a callback. p.callMu is held.
//
//go:noinline
func (p *Peer) apply(a Action) error {
	for {
		if a.do&timed != 0 {
			p.setTimeout(a)
		}
		switch a.do.withoutFlags() {
		case stop:
			err, _ := a.with.(error)
			p.end(err)
			return errStop
		case upgrade:
			t, ok := a.with.(transport.Transport)
			if !ok {
				p.end(errors.New("a callback returned Upgrade without a transport"))
				return errStop
			}
			p.next = t
			return errUpgrade
		case switchTo:
			h, ok := a.with.(Handler)
			if !ok {
				p.end(errors.New("a callback returned Switch without a handler"))
				return errStop
			}
			checkCallbacks(h)
			p.h = h
			p.startTicks()
			if c, ok := p.h.(connecter); ok {
				a = c.HandleConnect(p)
				continue
			}
		}
		return nil
	}
}

// callEnder calls HandleEnd at the end of the stream. As in data, callMu stays locked after a panic.
//
//go:noinline
func (p *Peer) callEnder() {
	if p.err != io.EOF {
		return
	}
	p.callMu.Lock()
	p.inCallback = true
	e, ok := p.h.(ender)
	if ok {
		e.HandleEnd(p, p.partial)
	}
	p.inCallback = false
	p.callMu.Unlock()
	if ok {
		p.err = p.endError(p.err) // it may have been set in the meantime
	}
}
