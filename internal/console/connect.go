package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// What the server says in text, before it has been asked for JSON.
const (
	identification = "Client identification "
	resumed        = "Conexao restabelecida"
	textError      = "error: "
)

// run reads from one connection after the other.
func (c *Client) run(ctx context.Context, l *link) {
	defer close(c.done)
	for l != nil {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		err := c.read(l)
		stop()
		l.Close()
		lost := time.Now()
		if !c.dropped(err) {
			break
		}
		l = c.reopen(ctx, lost)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	if c.err == nil {
		c.err = ErrClosed
	}
	if c.up != nil {
		close(c.up)
		c.up = nil
	}
}

// dropped tells whoever waits for an answer, and reports whether to connect again.
func (c *Client) dropped(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	again := c.opts.Reconnect && c.err == nil
	if again {
		c.up = make(chan struct{})
	}
	if c.pending != nil {
		why := ErrLost
		if errors.Is(c.err, ErrTakenOver) {
			why = c.err
		} else if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			why = fmt.Errorf("%w (%w)", ErrLost, err)
		}
		c.pending.done <- reply{err: why}
		c.pending = nil
	}
	return again
}

// reopen tries until there is a connection again; it returns nil when that is not wanted any more.
func (c *Client) reopen(ctx context.Context, lost time.Time) *link {
	for pause := c.opts.Backoff; ; pause = min(2*pause, c.opts.MaxBackoff) {
		l, again, err := c.open(ctx)
		var refused *RemoteError
		switch {
		case err == nil:
			c.opts.Show.Reconnected(&Reconnection{After: time.Since(lost), Resumed: again})
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.err != nil { // closed in the meantime
				l.Close()
				return nil
			}
			c.link = l
			close(c.up)
			c.up = nil
			return l
		case errors.As(err, &refused):
			c.fail(fmt.Errorf("after a new connection: %w", err))
			return nil
		case c.opts.GiveUp > 0 && time.Since(lost) >= c.opts.GiveUp:
			c.fail(fmt.Errorf("%w, and cannot be opened again: %w", ErrClosed, err))
			return nil
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
			return nil
		}
	}
}

// open connects, authenticates, resumes the session if there is one, and asks for JSON.
// again reports whether it is still the session of before.
func (c *Client) open(ctx context.Context) (l *link, again bool, err error) {
	if c.opts.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.ConnectTimeout)
		defer cancel()
	}
	nc, err := c.opts.Dial(ctx)
	if err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	l = &link{Conn: nc, lines: bufio.NewReader(nc)}
	again, err = c.greet(l)
	if !stop() && err == nil { // closed when all was done
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("the server does not answer as a shell: %w", context.Cause(ctx))
		}
		return nil, false, err
	}
	return l, again, nil
}

func (c *Client) greet(l *link) (again bool, err error) {
	first, err := l.line()
	if err != nil {
		return false, fmt.Errorf("waiting for its identification: %w", err)
	}
	id, ok := strings.CutPrefix(string(first), identification)
	if !ok {
		return false, fmt.Errorf("this is no shell: it says %.60q instead of its identification", first)
	}
	auth, err := c.authenticate(l)
	if err != nil {
		return false, err
	}
	if earlier := c.Session(); earlier != "" {
		if again, err = c.resume(l, earlier, &auth); err != nil {
			return false, err
		}
		if again {
			// That session answers in JSON already. To be sure it is told again, but a command
			// may be running in it, and the answer comes after that one's.
			l.last++
			_, err = io.WriteString(l, "format:json\n")
			return true, err
		}
	}
	if err := c.format(l, &auth); err != nil {
		return false, err
	}
	c.mu.Lock()
	c.session = id
	c.mu.Unlock()
	return false, nil
}

// authenticate sends the token, if there is one: before everything else, for guests may
// do little. pending reports whether there is an answer to come, in text.
func (c *Client) authenticate(l *link) (pending bool, err error) {
	if c.opts.Token == nil {
		return false, nil
	}
	token, err := c.opts.Token()
	if err != nil || token == "" {
		return false, err
	}
	l.last++
	_, err = io.WriteString(l, "auth:"+token+"\n")
	return true, err
}

// resume asks for the session of before. auth is whether the token has not been answered.
func (c *Client) resume(l *link, id string, auth *bool) (again bool, err error) {
	l.last++
	if _, err := io.WriteString(l, "reconnect:"+id+"\n"); err != nil {
		return false, err
	}
	for {
		line, err := l.line()
		if err != nil {
			return false, err
		}
		m, isJSON := parseMessage(line)
		text, isError := strings.CutPrefix(string(line), textError)
		switch {
		case isJSON && m.answer():
			return m.Error == nil, nil
		case isJSON:
			c.show(&m)
		case string(line) == resumed:
			return true, nil
		case isError && *auth:
			return false, refusal(true, text)
		case isError:
			return false, nil
		case *auth:
			*auth = false
		default:
			c.opts.Show.Output(append(line, '\n'))
		}
	}
}

// format asks for JSON. The answer's number is the one that others are counted from.
func (c *Client) format(l *link, auth *bool) error {
	if _, err := io.WriteString(l, "format:json\n"); err != nil {
		return err
	}
	for {
		line, err := l.line()
		if err != nil {
			return err
		}
		m, isJSON := parseMessage(line)
		text, isError := strings.CutPrefix(string(line), textError)
		switch {
		case isJSON && m.answer() && m.Error != nil:
			return refusal(*auth, m.Error.Message)
		case isJSON && m.answer():
			l.last = m.ID
			return nil
		case isJSON:
			c.show(&m)
		case isError:
			return refusal(*auth, text)
		case *auth:
			*auth = false
		default:
			c.opts.Show.Output(append(line, '\n'))
		}
	}
}

// refusal is why the server does not go on with a client.
func refusal(auth bool, text string) error {
	err := &RemoteError{Message: text, Code: CodeDenied}
	if auth {
		return fmt.Errorf("authenticating: %w", err)
	}
	return fmt.Errorf("asking for JSON: %w", err)
}

// read handles what comes, until there is no more.
func (c *Client) read(l *link) error {
	for {
		line, err := l.line()
		if err != nil {
			return err
		}
		m, isJSON := parseMessage(line)
		switch {
		case !isJSON:
			c.opts.Show.Output(append(line, '\n'))
		case m.answer():
			c.answered(&m)
		default:
			c.show(&m)
		}
	}
}

// answered passes an answer on. Nobody waits any more for that of a command which was given up.
func (c *Client) answered(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil || c.pending.id != m.ID {
		return
	}
	r := reply{answer: m.value()}
	if m.Error != nil {
		r = reply{err: m.Error}
	}
	c.pending.done <- r
	c.pending = nil
}

func (c *Client) show(m *message) {
	switch {
	case m.output():
		c.opts.Show.Output(m.content())
	case m.Frame:
		c.opts.Show.Frame(m.value())
	case m.Event == "taken_over":
		c.fail(ErrTakenOver)
		c.opts.Show.Notice("another connection has taken the session over: " + m.By)
	case m.Event == "lost":
		c.opts.Show.Notice(formatBytes(m.BytesLost) + " of output were lost while nobody was connected")
	case m.Event == "shutdown":
		c.opts.Show.Notice("the server is shutting down")
	}
}

// line returns the next line without its end.
func (l *link) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("the server sent a line of more than %d bytes", maxLine)
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
