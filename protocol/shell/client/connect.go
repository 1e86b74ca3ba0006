package client

import (
	"context"
	"fmt"
	"net"
	"strings"

	"goranch/protocol/shell"
)

// What the server sends as text.
const (
	identification = "Client identification "
	restored       = "Conexao restabelecida"
)

// opening is what a connection begins with.
type opening struct {
	token   string // "" sends none
	session string // to be resumed; "" is a new one
}

// connect makes a connection that is ready for calls.
func (c *Client) connect(ctx context.Context) (*link, error) {
	o := opening{session: c.Session()}
	var err error
	if o.token, err = c.opts.Token(ctx); err == nil {
		err = checkText(o.token)
	}
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	newLink := func(nc net.Conn) *link { return newLink(c, nc, o) }
	return c.connector.Open(ctx, newLink, func(ctx context.Context, l *link) error { return l.awaitReady(ctx) })
}

// awaitReady waits for the end of the opening exchange.
func (l *link) awaitReady(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	case <-l.Done():
		return l.Err()
	case <-ctx.Done():
		return fmt.Errorf("the server does not answer as a shell: %w", context.Cause(ctx))
	}
}

// open performs the opening exchange: identification, JSON format, token, earlier session.
func (l *link) open(o opening) error {
	first, err := l.readLine()
	if err != nil {
		return fmt.Errorf("wait for the identification: %w", err)
	}
	session, ok := strings.CutPrefix(string(first), identification)
	if text, refused := strings.CutPrefix(string(first), textError); refused {
		return fmt.Errorf("the server refuses the connection: %s", text)
	}
	if !ok {
		return fmt.Errorf("the server is not a shell: it sends %.60q instead of the identification", first)
	}
	if err := l.requestJSON(); err != nil {
		return fmt.Errorf("request JSON answers: %w", err)
	}
	if o.token != "" {
		if err := l.authenticate(o.token); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	resumed := false
	if o.session != "" {
		if resumed, err = l.resume(o.session); err != nil {
			return fmt.Errorf("resume the session: %w", err)
		}
	}
	if resumed {
		session = o.session
	}
	l.c.setSession(session)
	l.c.opts.OnConnect(resumed)
	return nil
}

// requestJSON switches the session to JSON. An error in text is the answer of a server without it.
func (l *link) requestJSON() error {
	m, text, err := l.exchange("format:json", func(text string) bool { return strings.HasPrefix(text, textError) })
	switch {
	case err != nil:
		return err
	case m == nil:
		return &shell.Error{Code: shell.CodeDenied, Message: strings.TrimPrefix(text, textError)}
	case m.Error != nil:
		return m.Error
	}
	return nil
}

func (l *link) authenticate(token string) error {
	m, _, err := l.exchange("auth:"+token, nil)
	if err == nil && m.Error != nil {
		err = m.Error
	}
	return err
}

// resume resumes a session. It returns false if the server no longer has it. If the server does not
// know whether it has it, that is an error, so that the client connects again.
func (l *link) resume(session string) (bool, error) {
	m, _, err := l.exchange("reconnect:"+session, func(text string) bool { return text == restored })
	if err == nil && m != nil && m.Error != nil && m.Error.Code == shell.CodeUnavailable {
		err = m.Error
	}
	if err != nil || m != nil {
		return false, err
	}
	// The client that created the session may have used text. The answer is not waited for: it
	// comes after that of a command that is still running in the session.
	return true, l.submit("format:json", nil)
}

// exchange sends a request and returns its answer: m, or, if m is nil, a line of text that isAnswer
// accepts.
func (l *link) exchange(request string, isAnswer func(text string) bool) (m *message, text string, err error) {
	p := &pending{}
	if err := l.submit(request, p); err != nil {
		return nil, "", err
	}
	defer l.forget()
	for {
		line, err := l.readLine()
		if err != nil {
			return nil, "", err
		}
		switch m, ok := parse(line); {
		case ok && m.answers(p.id):
			return &m, "", nil
		case !ok && isAnswer != nil && isAnswer(string(line)):
			return nil, string(line), nil
		}
		if err := l.take(line); err != nil {
			return nil, "", err
		}
	}
}
