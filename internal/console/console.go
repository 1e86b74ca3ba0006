// Package console is the operator's side of a shell: a client of its JSON lines that
// reconnects to its session by itself, and a prompt with history and completion.
//
//	client, err := console.Connect(ctx, console.ClientOptions{Dial: dial, Show: screen})
//	…
//	answer, err := client.Do(ctx, "connections --limit 5")
//	screen.Answer(answer)
//
// [Run] is all of an interactive console on any terminal, be it this process' own or the
// other end of a connection. Lines are edited by golang.org/x/term, which needs no more
// than an io.ReadWriter, and lets output come above a line that is being typed.
package console

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Options is what an interactive console needs to know.
type Options struct {
	// Dial opens a connection to the shell. It must be set.
	Dial func(ctx context.Context) (net.Conn, error)
	// Token is that of [ClientOptions].
	Token func() (string, error)
	// ConnectTimeout is that of [ClientOptions].
	ConnectTimeout time.Duration
	// Name is what the prompt calls the server. "" is no more than "> ".
	Name string
	// In and Out are a terminal in raw mode: who gave them puts it into that mode, and
	// back. They must be set.
	In  io.Reader
	Out io.Writer
	// Size returns the terminal's columns and lines. nil is 80 and 24.
	Size func() (columns, lines int)
	// Color is whether the terminal is to show colours.
	Color bool
	// JSON is whether results are shown as JSON.
	JSON bool
	// Above is called once, at the beginning, with what writes lines above the one that is
	// being typed: for what others have to say on this terminal, a log for one. nil is nobody.
	Above func(w io.Writer)
	// HistoryFile keeps what was typed, with permission 0600; "" is memory only.
	HistoryFile string
}

// console is one that runs.
type console struct {
	opts    Options
	ctx     context.Context
	term    *term.Terminal
	screen  *Screen
	keys    *Keys
	client  *Client
	history *history

	searched int    // the line of the history that Ctrl-R has brought; -1 is none
	wanted   string // what it was to contain

	mu          sync.Mutex
	giveUp      context.CancelFunc // of the running command; nil is none
	interrupted bool               // the running command has been asked to end
}

// lastWords is how long the end of a session may take.
const lastWords = time.Second

// Run reads commands and shows their results, until Ctrl-D or quit, then it returns nil.
// It returns why it cannot connect, that the session was taken over (ErrTakenOver), or
// why ctx ended. A connection that breaks is replaced, and no end.
//
// The goroutine that reads from In ends with the first Read that fails or returns after
// Run has: it may stay until a key is pressed.
func Run(ctx context.Context, opts Options) error {
	if opts.Size == nil {
		opts.Size = func() (int, int) { return 80, 24 }
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &console{opts: opts, ctx: ctx, searched: -1}
	c.keys = &Keys{Interrupt: c.interrupt}
	c.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{c.keys, opts.Out}, "")
	c.resize()
	c.screen = &Screen{Out: c.term, Size: opts.Size, Color: opts.Color, JSON: opts.JSON}
	if opts.Above != nil {
		opts.Above(c.term)
	}
	c.keys.Drawing, c.keys.Pressed = c.screen.drawing, c.resize
	var err error
	if c.history, err = openHistory(opts.HistoryFile); err != nil {
		c.screen.Notice("the history is not kept: " + err.Error())
	}
	c.term.History, c.term.AutoCompleteCallback = c.history, c.key
	c.client, err = Connect(ctx, ClientOptions{Dial: opts.Dial, Token: opts.Token, ConnectTimeout: opts.ConnectTimeout, Show: c.atPrompt(), Reconnect: true})
	if err != nil {
		return err
	}
	defer c.quit()
	stop := context.AfterFunc(ctx, func() { c.keys.End(context.Cause(ctx)) })
	defer stop()
	go c.keys.Watch(opts.In)
	go c.watch()
	return c.loop()
}

// watch wakes the prompt when there is nobody left to give commands to.
func (c *console) watch() {
	<-c.client.Done()
	c.keys.End(c.client.Err())
}

func (c *console) quit() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), lastWords)
	defer cancel()
	c.client.Quit(ctx)
}

func (c *console) resize() {
	if w, h := c.opts.Size(); w > 0 {
		c.term.SetSize(w, h)
	}
}

func (c *console) loop() error {
	prompt := "> "
	if c.opts.Name != "" {
		prompt = Style{Color: c.opts.Color}.cyan(c.opts.Name) + "> "
	}
	c.term.SetPrompt(prompt)
	for {
		c.resize()
		line, err := c.term.ReadLine()
		if errors.Is(err, io.EOF) {
			io.WriteString(c.opts.Out, "\r\n") // the editor would write its line again
			return nil
		}
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			if errors.Is(err, ErrClosed) { // the server has ended the session
				return nil
			}
			return err
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if done := c.command(line); done {
			return nil
		}
	}
}

// command runs one command, and reports whether it was the last.
func (c *console) command(line string) (last bool) {
	name, value, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " ")
	switch name {
	case "quit", "exit":
		return true
	case "format": // on the connection it is JSON always
		c.format(strings.TrimSpace(value))
		return false
	case "auth":
		if value == "" {
			token, err := c.term.ReadPassword("token: ")
			if err != nil || token == "" {
				return false
			}
			line = "auth:" + token
		}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.running(cancel)
	answer, err := c.client.Do(ctx, line)
	c.running(nil)
	framed := c.screen.EndFrames()
	var remote *RemoteError
	switch {
	case errors.As(err, &remote) && remote.Code == CodeCancelled && framed:
	case errors.Is(err, context.Canceled):
		c.screen.Notice("not waited for any longer")
	case err != nil:
		c.screen.Error(err)
	case answer.Result != nil:
		c.screen.Answer(answer)
	default:
		c.screen.Done()
	}
	return false
}

func (c *console) format(name string) {
	switch name {
	case "json", "text":
		c.screen.setJSON(name == "json")
	default:
		c.screen.Error(errors.New("format is text or json"))
	}
}

func (c *console) running(giveUp context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveUp, c.interrupted = giveUp, false
}

// interrupt cancels the running command. The second time, or without a connection, it
// does not wait for what the server says to that.
func (c *console) interrupt() bool {
	c.mu.Lock()
	giveUp, again := c.giveUp, c.interrupted
	c.interrupted = giveUp != nil
	c.mu.Unlock()
	switch {
	case giveUp == nil:
		return false
	case again || !c.client.Connected():
		giveUp()
	default:
		c.client.Cancel()
	}
	return true
}

// atPrompt shows on the screen what comes, also while a line is being typed: that can be
// only whole lines, for the prompt follows.
func (c *console) atPrompt() Viewer { return &promptViewer{Screen: c.screen, c: c} }

type promptViewer struct {
	*Screen
	c *console
}

func (v *promptViewer) Output(p []byte) {
	v.c.mu.Lock()
	running := v.c.giveUp != nil
	v.c.mu.Unlock()
	if n := len(p); !running && n > 0 && p[n-1] != '\n' {
		p = append(slices.Clip(p), '\n')
	}
	v.Screen.Output(p)
}
