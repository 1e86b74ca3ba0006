// Package console implements the operator's terminal of a shell: an interactive prompt with history
// and completion, and the rendering of answers as text. It uses package client.
//
// [Run] runs the prompt on any terminal, which may be that of this process or the other end of a
// connection. [Screen] shows answers and output without a prompt.
//
// golang.org/x/term edits the line. It needs no more than an io.ReadWriter, and can write output
// above the line that is being typed.
package console

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"goranch/protocol/shell/client"
)

// Options are the settings of an interactive console.
type Options struct {
	// Client is how to connect. Run sets its callbacks.
	Client client.Options
	// Name is the server's name in the prompt. "" is the prompt "> ".
	Name string
	// In and Out are a terminal in raw mode, which the caller sets and restores. They are required.
	In  io.Reader
	Out io.Writer
	// Size returns the terminal's columns and lines. nil is 80 and 24.
	Size func() (columns, lines int)
	// Color allows escape sequences for colours.
	Color bool
	// JSON shows results as JSON.
	JSON bool
	// Above is called once, at the start, with a writer that writes lines above the line that is
	// being typed: for the log of this process. nil is not called.
	Above func(w io.Writer)
	// HistoryFile stores the lines that were typed, with mode 0600. "" is memory only.
	HistoryFile string
}

// console is a running interactive console.
type console struct {
	opts    Options
	ctx     context.Context
	term    *term.Terminal
	screen  *Screen
	keys    *Keys
	client  *client.Client
	history *history

	searched int    // index of the history line that Ctrl-R has found; -1 is none
	wanted   string // what that line contains

	mu          sync.Mutex
	giveUp      context.CancelFunc // stops waiting for the running command; nil if none is running
	interrupted bool               // the running command has been cancelled
}

// quitTimeout is the time to end the session.
const quitTimeout = time.Second

// Run reads commands and shows their results until Ctrl-D or quit, then returns nil. It returns an
// error if it cannot connect, if the client ends, for example with [client.ErrTakenOver], and the
// cause of ctx. It reconnects when the connection breaks.
//
// The goroutine that reads from In ends with the first Read that fails or returns after Run has
// returned, so it may remain until a key is pressed.
func Run(ctx context.Context, opts Options) error {
	if opts.Size == nil {
		opts.Size = func() (int, int) { return 80, 24 }
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConsole(ctx, opts)
	c.screen.SetCallbacks(&opts.Client)
	opts.Client.OnOutput = c.output
	var err error
	if c.client, err = client.Dial(ctx, opts.Client); err != nil {
		return err
	}
	defer c.quit()
	stop := context.AfterFunc(ctx, func() { c.keys.End(context.Cause(ctx)) })
	defer stop()
	go c.keys.Watch(opts.In)
	go func() { // ends with quit at the latest
		<-c.client.Done()
		c.keys.End(c.client.Err())
	}()
	return c.loop()
}

// newConsole returns a console that is not connected.
func newConsole(ctx context.Context, opts Options) *console {
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
		c.screen.Notice("the history is not saved: " + err.Error())
	}
	c.term.History, c.term.AutoCompleteCallback = c.history, c.key
	return c
}

func (c *console) quit() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), quitTimeout)
	defer cancel()
	c.client.Quit(ctx) // if it fails, the session expires
}

func (c *console) resize() {
	if w, h := c.opts.Size(); w > 0 {
		c.term.SetSize(w, h)
	}
}

// loop reads and runs commands.
func (c *console) loop() error {
	prompt := "> "
	if c.opts.Name != "" {
		prompt = style{color: c.opts.Color}.cyan(c.opts.Name) + "> "
	}
	c.term.SetPrompt(prompt)
	for {
		c.resize()
		line, err := c.term.ReadLine()
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			io.WriteString(c.opts.Out, "\r\n") // not through the line editor, which would repeat its line
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if done := c.command(line); done {
			return nil
		}
	}
}

// interrupt handles Ctrl-C. The first one cancels the running command, the second one, or one
// without a connection, stops waiting for the answer. It returns false if no command is running.
func (c *console) interrupt() bool {
	c.mu.Lock()
	giveUp, again := c.giveUp, c.interrupted
	c.interrupted = giveUp != nil
	c.mu.Unlock()
	if giveUp == nil {
		return false
	}
	if again || !c.client.Cancel() {
		giveUp()
	}
	return true
}

// setRunning marks that a command runs; giveUp is nil when it has ended.
func (c *console) setRunning(giveUp context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.giveUp, c.interrupted = giveUp, false
}

// output shows output. While a line is being typed it must consist of whole lines, because the
// prompt follows.
func (c *console) output(p []byte) {
	c.mu.Lock()
	running := c.giveUp != nil
	c.mu.Unlock()
	if n := len(p); !running && n > 0 && p[n-1] != '\n' {
		p = append(slices.Clip(p), '\n')
	}
	c.screen.Output(p)
}
