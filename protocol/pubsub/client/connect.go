package client

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"

	"goranch/internal/topicname"
	"goranch/protocol/session"
)

// connect returns a connection that has resumed the client's session or, if that is not possible,
// has a new one.
func (c *Client) connect(ctx context.Context) (*link, error) {
	c.mu.Lock()
	token := c.token
	if c.opts.Token != token && len(c.sessionTopics) == 0 {
		token = "" // the server does not keep a detached session without subscriptions
	}
	c.mu.Unlock()
	if token != "" {
		l, err := c.open(ctx, token)
		if err == nil || !isUnknownSession(err) {
			return l, err
		}
	}
	return c.open(ctx, "")
}

// isUnknownSession reports whether the server has refused to attach because it does not have the
// session. The protocol gives the reason as text only.
func isUnknownSession(err error) bool {
	return errors.Is(err, ErrRefused) && strings.HasSuffix(err.Error(), session.ErrUnknown.Error())
}

// open connects and attaches to the session with that token; "" starts a new session.
func (c *Client) open(ctx context.Context, token string) (*link, error) {
	newConn := func(nc net.Conn) *link { return newLink(c, nc) }
	return c.redialer.Open(ctx, newConn, func(ctx context.Context, l *link) error { return l.begin(ctx, token) })
}

// begin waits for the greeting, attaches to the session if token is not "", and activates the link.
func (l *link) begin(ctx context.Context, token string) error {
	select {
	case <-l.greeted:
	case <-l.Done():
		return l.reason()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if token == "" {
		l.client.activate(l, l.token, false)
		return nil
	}
	if _, err := l.do(ctx, &request{Action: "attach", Data: token}); err != nil {
		return err
	}
	l.client.activate(l, token, true)
	return nil
}

// activate makes l the client's connection, and subscribes and unsubscribes the session so that it
// matches the client's subscriptions.
func (c *Client) activate(l *link, token string, resumed bool) {
	c.mu.Lock()
	lost := c.token != "" && !resumed && (len(c.subs) > 0 || c.opts.Token == c.token)
	c.token = token
	if !resumed {
		clear(c.sessionTopics)
		for _, s := range c.subs {
			s.active = false
		}
	}
	for name := range c.sessionTopics {
		if c.subs[name] == nil {
			l.unsubscribe(name)
		}
	}
	l.restoring = lost
	for _, s := range c.topicsFirst() {
		if !s.active || s.opts.Since != nil {
			c.requestSubscription(l, s)
		}
	}
	restored, complete := l.restoreComplete()
	c.redialer.Set(l)
	c.mu.Unlock()
	switch {
	case complete:
		c.sessionRestored(restored)
	case resumed:
		c.counters.resumed.Add(1)
		c.opts.OnConnect(ConnectInfo{Resumed: true})
	case !lost:
		c.opts.OnConnect(ConnectInfo{})
	}
}

func (c *Client) sessionRestored(subscriptions int) {
	c.counters.sessionsLost.Add(1)
	c.opts.OnConnect(ConnectInfo{SessionLost: true, Resubscribed: subscriptions})
}

// topicsFirst returns the subscriptions, patterns last, so that patterns do not receive the history
// that subscriptions to topics request. c.mu is held.
func (c *Client) topicsFirst() []*Subscription {
	all := slices.Collect(maps.Values(c.subs))
	slices.SortFunc(all, func(a, b *Subscription) int {
		if p, q := topicname.IsPattern(a.name), topicname.IsPattern(b.name); p != q {
			if p {
				return 1
			}
			return -1
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}
