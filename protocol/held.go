package protocol

// hold keeps frames back, so that answers to many requests go out together; letGo sends them.
//
//go:noinline
func (o *Outbox) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.q == nil && o.err == nil && o.held == nil {
		o.held = scratch.Get().(*[]byte)
	}
}

//
//go:noinline
func (o *Outbox) letGo() {
	o.mu.Lock()
	high := 0
	if o.held != nil && o.err == nil {
		high = o.writeHeld()
	}
	if o.held != nil {
		putScratch(o.held)
		o.held = nil
	}
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
}

// writeHeld writes what was held back. o.mu is held.
func (o *Outbox) writeHeld() (high int) {
	if len(*o.held) > 0 {
		high = o.write(*o.held, false)
		*o.held = (*o.held)[:0]
	}
	if o.q != nil { // the peer does not keep up: the queue does the rest
		putScratch(o.held)
		o.held = nil
	}
	return high
}
