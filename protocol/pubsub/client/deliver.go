package client

// deliver hands a message to the subscriptions that it fits.
func (l *link) deliver(m Message) {
	c := l.c
	c.count.messages.Add(1)
	c.mu.Lock()
	var few [4]*Sub
	to := few[:0]
	if s := c.subs[m.Topic]; s != nil && s.active && !isPattern(s.name) {
		to = append(to, s)
	}
	for _, p := range c.patterns {
		if p.active && fits(p.name, m.Topic) {
			to = append(to, p)
		}
	}
	c.mu.Unlock()
	for _, s := range to {
		s.take(l, m)
	}
	switch {
	case len(to) > 0:
	case c.opts.OnMessage != nil:
		c.opts.OnMessage(m)
	default:
		c.count.unclaimed.Add(1)
	}
}

// take hands a message to the handler or the channel.
func (s *Sub) take(l *link, m Message) {
	if s.reader.repeats(&m) {
		s.c.count.duplicates.Add(1)
		return
	}
	if s.opts.Handler != nil {
		s.opts.Handler(m)
		return
	}
	if s.opts.Full == Wait {
		select {
		case s.ch <- m:
		case <-s.done:
		case <-s.c.Done():
		}
		return
	}
	for {
		select {
		case s.ch <- m:
			return
		default:
		}
		if s.opts.Full == DropOldest {
			select {
			case <-s.ch:
				s.c.happened(Event{Kind: Dropped, Topic: s.name, N: 1})
			default: // somebody has taken it meanwhile
			}
			continue
		}
		s.c.happened(Event{Kind: Dropped, Topic: s.name, N: 1})
		return
	}
}

// expect notes that history is to come, which was had before, in part or all.
func (r *reader) expect(opts *Subscription) {
	r.again, r.repeated = 0, 0
	if r.last.IsZero() {
		return
	}
	r.again = opts.History
	if opts.Last {
		r.again = max(r.again, 1)
	}
}

// repeats reports whether a message was had before. Messages of one topic have times that do not go back, unless
// the server's clock does: then no more are left out than history can be.
func (r *reader) repeats(m *Message) bool {
	if r.again > 0 {
		r.again--
		switch {
		case m.Time.Before(r.last):
			return true
		case m.Time.Equal(r.last) && r.repeated < r.same:
			r.repeated++
			return true
		}
		r.again = 0
	}
	if m.Time.Equal(r.last) {
		r.same++
	} else {
		r.last, r.same = m.Time, 1
	}
	return false
}
