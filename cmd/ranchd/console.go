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

var errNoTerminal = errors.New("--console requires a terminal on standard input and output; to connect from another terminal, use ranchctl")

// switchWriter is the destination of the log. While the console runs it is the console, which
// writes log lines above the line that is being typed.
type switchWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *switchWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

func (s *switchWriter) set(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = w
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// runConsole runs the operators' shell on this terminal. It returns when the operator quits or ctx
// ends.
func (d *daemon) runConsole(ctx context.Context) error {
	mem := new(transport.Mem)
	var s runningService
	user := func(context.Context, *transport.Conn) (shell.User, error) {
		return shell.User{Name: "console", Role: shell.Operator}, nil
	}
	err := d.newOperatorShell(&s, &listenerConfig{Access: shellAccess{Peer: user}, Sessions: sessionConfig{TTL: d.config().SessionTTL}})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		d.logClosed(s.close(ctx))
	}()
	var server ranch.Server // its own, so that commands do not list or suspend it
	l, err := server.StartListener("console", mem, ranch.Options{Addr: "console", Logger: slog.New(slog.DiscardHandler)}, s.protocol)
	if err != nil {
		return err
	}
	defer l.Stop()
	fd := int(os.Stdin.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer term.Restore(fd, state)
	if isTerminal(os.Stderr) {
		defer d.logWriter.set(os.Stderr)
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
				d.logWriter.set(w)
			}
		},
	})
}
