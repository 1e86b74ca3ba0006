package protocol

import (
	"errors"
	"io"
	"runtime/debug"

	"goranch/internal/idle"
	"goranch/transport"
)

// Run serves the connection until it ends or can be parked. Run and the functions that it calls,
// down to the system call, are written to use little stack: the stack of an idle connection keeps
// the size that its last frame required.
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

// needsGoroutine is the error of the Peer after Ready if Run is to continue with err.
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

// Ready handles the data that has arrived, in the goroutine of a lead. It leaves everything that
// may have to wait to Run.
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

// callEnder calls HandleEnd at the end of the stream. As in data, callMu stays locked after a
// panic.
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
