package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"goranch/internal/console"
)

// streams are the standard ones. What is an *os.File may be a terminal.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// terminal returns the descriptor of a stream that is a terminal.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// sizeOf returns how to ask for a terminal's size, and nil if it is none.
func sizeOf(stream any) func() (columns, lines int) {
	fd, ok := terminal(stream)
	if !ok {
		return nil
	}
	return func() (int, int) {
		w, h, err := term.GetSize(fd)
		if err != nil || w <= 0 {
			return 80, 24
		}
		return w, h
	}
}

func run(ctx context.Context, args []string, s streams, interrupts <-chan os.Signal) int {
	f, code, done := parse(args, s.out, s.err)
	if done {
		return code
	}
	srv, err := f.server(s.err)
	if err != nil {
		return complain(s.err, err)
	}
	in, isTerminal := terminal(s.in)
	if len(f.Command) == 0 && isTerminal && sizeOf(s.out) != nil {
		return interactive(ctx, f, srv, s, in)
	}
	return batch(ctx, f, srv, s, interrupts)
}

// interactive is the prompt.
func interactive(ctx context.Context, f *flags, srv *server, s streams, in int) int {
	before, err := term.MakeRaw(in)
	if err != nil {
		fmt.Fprintln(s.err, "ranchctl: the terminal:", err)
		return exitFailed
	}
	err = console.Run(ctx, console.Options{
		Dial: srv.dial, Token: srv.token, ConnectTimeout: f.ConnectTimeout, Name: srv.addr.Short(),
		In: s.in, Out: s.out, Size: sizeOf(s.out), Color: console.WantsColor(true),
		JSON: f.Output == "json", HistoryFile: console.HistoryFile("ranchctl"),
	})
	term.Restore(in, before)
	switch {
	case err == nil:
		return exitInOrder
	case errors.Is(err, console.ErrTakenOver): // which has been said
		return exitUnconnected
	}
	fmt.Fprintf(s.err, "ranchctl: %s: %v\n", srv.addr, err)
	return connectCode(err)
}
