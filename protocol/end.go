package protocol

import (
	"context"
	"errors"
	"io"
	"time"
)

// endError returns the error with which the connection ends, given that of the reader. An error
// that a callback or Close has set comes first, then that of the outbox.
func (p *Peer) endError(err error) error {
	if err == io.EOF && len(p.partial) > 0 && !p.isEnder() {
		err = io.ErrUnexpectedEOF
	}
	if oerr := p.out.failure(); oerr != nil && !errors.Is(err, ErrShutdown) {
		err = oerr // it also made the read fail
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending.Load() {
		return *p.ending.err.Load()
	}
	return err
}

func (p *Peer) isEnder() bool {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	_, ok := p.h.(ender)
	return ok
}

// finish runs exactly once, when the connection has ended.
func (p *Peer) finish(err error) {
	if !p.inCallback { // else a callback of the reader has panicked, and callMu is still held
		p.callMu.Lock()
	}
	defer p.callMu.Unlock()
	p.closed = true
	p.stopTimers()
	p.mu.Lock()
	p.mail.closed = true
	p.mu.Unlock()
	if c, ok := p.h.(closer); ok {
		defer c.HandleClose(p, err)
	}
	p.callLeaver(err)
	p.freePartial()
	if _, panicked := errors.AsType[*PanicError](err); panicked {
		p.flush(-1)
		return
	}
	if s, ok := p.h.(shutdowner); ok && errors.Is(err, ErrShutdown) {
		s.HandleShutdown(p)
	}
	p.flush(p.hp.FlushTime)
}

func (p *Peer) callLeaver(err error) {
	defer p.leaveGroups() // also after a panic
	if l, ok := p.h.(leaver); ok {
		l.HandleLeave(p, err, p.partial)
	}
}

// flush sends queued frames for at most limit, and closes the outbox.
func (p *Peer) flush(limit time.Duration) {
	if limit > 0 && p.out.busy() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		p.out.Wait(ctx)
	}
	if !p.out.close() {
		p.conn.Abort() // Close would wait for the peer, for example to send TLS close_notify
		p.out.Wait(context.Background())
	}
}
