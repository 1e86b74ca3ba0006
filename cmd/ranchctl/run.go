package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"goranch/internal/console"
)

// run runs ranchctl with the arguments and returns the exit code.
func run(ctx context.Context, args []string, s streams, interrupts <-chan os.Signal) int {
	f, code, done := parse(args, s.out, s.err)
	if done {
		return code
	}
	srv, err := f.server(s.err)
	if err != nil {
		return usageError(s.err, err)
	}
	in, isTerminal := terminal(s.in)
	if len(f.Command) == 0 && isTerminal && sizeOf(s.out) != nil {
		return prompt(ctx, f, srv, s, in)
	}
	return batch(ctx, f, srv, s, interrupts)
}

// prompt runs the interactive console on a terminal, whose descriptor is in.
func prompt(ctx context.Context, f *flags, srv *server, s streams, in int) int {
	before, err := term.MakeRaw(in)
	if err != nil {
		fmt.Fprintln(s.err, "ranchctl: set the terminal to raw mode:", err)
		return exitFailed
	}
	err = console.Run(ctx, console.Options{
		Client: srv.client, Name: srv.addr.Short(),
		In: s.in, Out: s.out, Size: sizeOf(s.out), Color: console.WantsColor(true),
		JSON: f.Output == "json", HistoryFile: console.HistoryFile("ranchctl"),
	})
	term.Restore(in, before)
	if err == nil {
		return exitOK
	}
	printConnectError(s.err, err)
	return connectCode(err)
}
