package protocol

// cork collects frames instead of sending them, so that the answers to several requests are sent
// together. uncork sends them.
//
//go:noinline
func (o *Outbox) cork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.q == nil && o.err == nil && o.corked == nil {
		o.corked = scratch.Get().(*[]byte)
	}
}

//go:noinline
func (o *Outbox) uncork() {
	o.mu.Lock()
	high := 0
	if o.corked != nil && o.err == nil {
		high = o.writeCorked()
	}
	if o.corked != nil {
		putScratch(o.corked)
		o.corked = nil
	}
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
}

// writeCorked writes the collected frames. If the connection does not take all of them, the outbox
// is uncorked, because the queue collects frames too. o.mu is held.
func (o *Outbox) writeCorked() (high int) {
	if len(*o.corked) > 0 {
		high = o.write(*o.corked, false)
		*o.corked = (*o.corked)[:0]
	}
	o.uncorkQueued()
	return high
}

// uncorkQueued uncorks the outbox if the queue is not empty. The collected frames are written. o.mu
// is held.
func (o *Outbox) uncorkQueued() {
	if o.q != nil && o.corked != nil {
		putScratch(o.corked)
		o.corked = nil
	}
}
