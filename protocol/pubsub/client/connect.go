package client

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"

	"goranch/protocol/session"
)

// connect makes a connection that is ready to be used: with the session there was, or else with a new one.
func (c *Client) connect(ctx context.Context) (*link, error) {
	c.mu.Lock()
	token := c.token
	if c.opts.Token != token && len(c.held) == 0 {
		token = "" // the server has not kept a session without subscriptions
	}
	c.mu.Unlock()
	if token != "" {
		l, err := c.open(ctx, token)
		if err == nil || !isUnknown(err) {
			return l, err
		}
	}
	return c.open(ctx, "")
}

// isUnknown reports whether the server has no such session.
func isUnknown(err error) bool {
	return errors.Is(err, ErrRefused) && strings.HasSuffix(err.Error(), session.ErrUnknown.Error())
}

// open connects, and goes on with the session of a token, "" for none.
func (c *Client) open(ctx context.Context, token string) (*link, error) {
	return c.keep.Open(ctx, func(nc net.Conn) *link { return newLink(c, nc) }, func(ctx context.Context, l *link) error {
		return l.greeted(ctx, token)
	})
}

// greeted waits for the greeting and attaches to the session of token, if that is not "". Then the client has
// the link.
func (l *link) greeted(ctx context.Context, token string) error {
	select {
	case <-l.hello:
	case <-l.Done():
		return l.Why()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if token == "" {
		l.c.adopt(l, l.token, false)
		return nil
	}
	if _, err := l.ask(ctx, &request{Action: "attach", Data: token}); err != nil {
		return err
	}
	l.c.adopt(l, token, true)
	return nil
}

// adopt notes the link, and has the session subscribed to what it ought to be.
func (c *Client) adopt(l *link, token string, resumed bool) {
	kind := Event{Kind: Connected}
	if resumed {
		kind.Kind = Resumed
	}
	c.mu.Lock()
	again := c.token != "" && !resumed && (len(c.subs) > 0 || c.opts.Token == c.token)
	c.token = token
	if !resumed {
		clear(c.held)
		for _, s := range c.subs {
			s.active = false
		}
	}
	for name := range c.held {
		if c.subs[name] == nil {
			l.leave(name)
		}
	}
	l.again = again
	for _, s := range c.inOrder() {
		if !s.active {
			c.request(l, s)
		}
	}
	n, all := l.confirmed()
	c.keep.Set(l)
	c.mu.Unlock()
	switch {
	case all:
		c.happened(Event{Kind: Resubscribed, N: n})
	case !again:
		c.happened(kind)
	}
}

// inOrder returns the subscriptions, those to patterns last, so that they do not get the history that others ask
// for. c.mu is held.
func (c *Client) inOrder() []*Sub {
	all := slices.Collect(maps.Values(c.subs))
	slices.SortFunc(all, func(a, b *Sub) int {
		if p, q := isPattern(a.name), isPattern(b.name); p != q {
			if p {
				return 1
			}
			return -1
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}
