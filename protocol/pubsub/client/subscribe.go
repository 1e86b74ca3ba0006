package client

import (
	"context"
	"fmt"
	"slices"

	"goranch/internal/option"
	"goranch/internal/topicname"
)

// Subscribe subscribes to name, a topic or a pattern. In a pattern, whose tokens are separated by
// dots, "*" matches one token, and ">" as the last token matches one or more. Subscribe waits until
// the server has confirmed the subscription, and tries again over new connections.
//
// The error wraps [ErrRefused] if the server refuses the subscription; otherwise it says that the
// client has already subscribed to name, or it is about the options, the one with which the client
// has ended, or the cause of ctx.
func (c *Client) Subscribe(ctx context.Context, name string, opts SubscribeOptions) (*Subscription, error) {
	if err := opts.validate(name); err != nil {
		return nil, err
	}
	s := &Subscription{client: c, name: name, opts: opts, done: make(chan struct{}), confirmed: make(chan struct{}, 1)}
	if opts.Since != nil {
		s.position.last = *opts.Since
	}
	if opts.Handler == nil {
		option.Default(&s.opts.Buffer, 64)
		s.ch = make(chan Message, s.opts.Buffer)
	}
	if err := c.add(s); err != nil {
		return nil, err
	}
	select {
	case <-s.confirmed:
		return s, nil
	case <-s.done:
		return nil, s.err
	case <-c.Done():
		return nil, c.Err()
	case <-ctx.Done():
		s.Unsubscribe()
		return nil, context.Cause(ctx)
	}
}

func (c *Client) add(s *Subscription) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.Err() != nil:
		return c.Err()
	case c.subs[s.name] != nil:
		return fmt.Errorf("%w: %q", errSubscribed, s.name)
	}
	c.subs[s.name] = s
	if topicname.IsPattern(s.name) {
		c.patterns = append(c.patterns, s)
	}
	if l := c.redialer.Link(); l != nil {
		c.requestSubscription(l, s)
	}
	return nil
}

// requestSubscription sends a subscribe request. c.mu is held.
func (c *Client) requestSubscription(l *link, s *Subscription) {
	r := &request{Action: "subscribe", Data: s.name, Last: s.opts.Last, History: s.opts.History, Since: s.since()}
	b, err := r.encode(c.opts.MaxFrame)
	p := &pending{sub: s, restores: l.restoring, answer: make(chan answer, 1)}
	if err == nil {
		err = l.send(b, p)
	}
	if err != nil {
		c.remove(s, err)
		return
	}
	if p.restores {
		l.restorePending++
	}
	s.position.requested = true
	c.sessionTopics[s.name] = struct{}{}
}

// since returns the since of a subscribe request. c.mu is held.
func (s *Subscription) since() any {
	switch {
	case s.opts.Since == nil:
		return nil
	case s.position.last.Epoch == "":
		return struct{}{}
	}
	return s.position.last
}

// remove ends a subscription. c.mu is held.
func (c *Client) remove(s *Subscription, err error) {
	if c.subs[s.name] != s {
		return
	}
	delete(c.subs, s.name)
	c.patterns = slices.DeleteFunc(c.patterns, func(p *Subscription) bool { return p == s })
	s.err = err
	close(s.done)
}

// confirm handles the server's confirmation of a subscribe request.
func (c *Client) confirm(l *link, p *pending) {
	c.mu.Lock()
	s := p.sub
	s.active = true
	s.received.expectHistory(&s.opts)
	if s.opts.Since == nil {
		s.confirm()
	}
	if p.restores {
		l.restorePending--
		l.restored++
	}
	restored, complete := l.restoreComplete()
	c.mu.Unlock()
	if complete {
		c.sessionRestored(restored)
	}
}

// confirm makes Subscribe return.
func (s *Subscription) confirm() {
	select {
	case s.confirmed <- struct{}{}:
	default: // an earlier session has confirmed it
	}
}

// restoreComplete reports, once, that all subscriptions of a lost session are in effect again. The
// client's lock is held.
func (l *link) restoreComplete() (restored int, complete bool) {
	complete = l.restoring && l.restorePending == 0
	if complete {
		l.restoring = false
	}
	return l.restored, complete
}

// unsubscribed records that the session is no longer subscribed to these names.
func (c *Client) unsubscribed(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if c.subs[name] == nil {
			delete(c.sessionTopics, name)
		}
	}
}

// subscriptionRefused ends a subscription that the server has refused.
func (c *Client) subscriptionRefused(s *Subscription, err error) {
	c.mu.Lock()
	c.remove(s, err)
	delete(c.sessionTopics, s.name)
	c.mu.Unlock()
	c.opts.OnRefused(s.name, err)
}
