package protocol

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

// pendingFrames handles the frames that were not handled because reading was paused, after the
// pause.
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
