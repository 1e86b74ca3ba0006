package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/term"

	"goranch/internal/console"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
	"goranch/ranch"
	"goranch/transport"
)

// errNoTerminal is why there is no console.
var errNoTerminal = errors.New("--console: standard input and output have to be a terminal: use ranchctl from elsewhere")

// divertable is where the log goes: to the console, while there is one, so that it does not write
// into the line that is being typed.
type divertable struct {
	mu sync.Mutex
	to io.Writer
}

func (d *divertable) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.to.Write(p)
}

func (d *divertable) divert(to io.Writer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
}

// isTerminal reports whether w, or r, is one.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// converse is the operators' shell on this terminal. It returns when the operator leaves, or when ctx ends.
func (d *daemon) converse(ctx context.Context) error {
	mem := new(transport.Mem)
	operator := func(context.Context, *transport.Conn) (shell.User, error) {
		return shell.User{Name: "console", Role: shell.Operator}, nil
	}
	p, err := d.operators(operator)
	if err != nil {
		return err
	}
	var inner ranch.Server // not among those that it shows and suspends
	l, err := inner.StartListener("console", mem, ranch.Options{Addr: "console", Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		return err
	}
	defer l.Stop()
	fd := int(os.Stdin.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer term.Restore(fd, before)
	if isTerminal(os.Stderr) {
		defer d.logTo.divert(os.Stderr)
	}
	return console.Run(ctx, console.Options{
		Client: client.Options{Transport: mem, Addr: "console"},
		Name:   "ranchd", In: os.Stdin, Out: os.Stdout, Color: console.WantsColor(true),
		HistoryFile: console.HistoryFile("ranchd"),
		Size: func() (columns, lines int) {
			if w, h, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 0 {
				return w, h
			}
			return 80, 24
		},
		Above: func(w io.Writer) {
			if isTerminal(os.Stderr) {
				d.logTo.divert(w)
			}
		},
	})
}
