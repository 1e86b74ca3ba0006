package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Call sends a command, which is one line, and waits for its answer. Calls run one after the other;
// while the client is not connected, Call waits for a connection. When ctx ends, the command is
// cancelled on the server, and Call returns without waiting for its answer.
//
// The error is a [*shell.Error] if the command failed, if the line cannot be sent (more than one
// line of UTF-8 text, or empty), and for the commands format and reconnect, which the client uses
// itself. Otherwise it is the cause of ctx, [ErrDisconnected], or the error of [Client.Err].
func (c *Client) Call(ctx context.Context, line string) (*Answer, error) {
	return c.call(ctx, line, true)
}

// Complete returns what the last word of a command line that is being typed could become. The end
// of ctx does not cancel anything on the server, where an earlier command of the session may be
// running.
func (c *Client) Complete(ctx context.Context, line string) ([]string, error) {
	a, err := c.call(ctx, "complete:"+line, false)
	if err != nil {
		return nil, err
	}
	var words []string
	if err := json.Unmarshal(a.Result, &words); err != nil {
		return nil, fmt.Errorf("answer to complete: %w", err)
	}
	return words, nil
}

// Cancel cancels the running command of the session, whose call then returns an error with
// [shell.CodeCancelled]. It does not wait. It returns false if the client is not connected.
func (c *Client) Cancel() bool {
	l := c.connector.Link()
	if l == nil || l.Err() != nil {
		return false
	}
	l.interrupt()
	return true
}

func (c *Client) call(ctx context.Context, line string, cancel bool) (*Answer, error) {
	if err := checkLine(line); err != nil {
		return nil, err
	}
	// The server cancels all requests of a connection at once, so that only one may be pending.
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.Done():
		return nil, c.Err()
	}
	l, err := c.connector.Await(ctx)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // do not start what would be cancelled at once
		return nil, context.Cause(ctx)
	}
	return l.call(ctx, line, cancel)
}

// pending is a request without an answer.
type pending struct {
	id    int64
	reply chan reply // holds one
}

type reply struct {
	answer *Answer
	err    error
}

func (l *link) call(ctx context.Context, line string, cancel bool) (*Answer, error) {
	p := &pending{reply: make(chan reply, 1)}
	if err := l.submit(line, p); err != nil {
		return nil, err
	}
	defer l.forget()
	select {
	case r := <-p.reply:
		return r.answer, r.err
	case <-ctx.Done():
		if cancel {
			l.interrupt()
		}
		return nil, context.Cause(ctx)
	case <-l.Done():
	}
	select {
	case r := <-p.reply: // it arrived just before the connection ended
		return r.answer, r.err
	default:
	}
	why := l.reason()
	if errors.Is(why, ErrDisconnected) {
		why = fmt.Errorf("%w; the command may have been executed", why)
	}
	return nil, why
}
