// Package bots drives a Janus server with many subscribers and measures how long a message
// takes to reach each of them. It is the command "ranchctl bots".
//
//	os.Exit(bots.Command(ctx, []string{"--clients", "10000", "--port", "8081"}, os.Stdout, os.Stderr))
//
// # Parts
//
// The coordinator (run.go) reads the flags, publishes and reports. The bots are in crews: one
// goroutine of this process, or, when descriptors do not suffice, processes of the same program.
// Either way coordinator and crew talk in lines of JSON over pipes (talk.go), and one thread owns
// all state of a crew: its driver, an epoll loop on Linux, goroutines and a mutex elsewhere.
//
// # Time
//
// A message's latency is measured twice. By its timestamp: the wall clock when a bot has read it
// less the time that the server put in, which is of use only if both are one clock. And by its wait:
// from when it was published, or was meant to be, by the monotonic clock, which all processes
// of a Linux machine share.
package bots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// Exit codes.
const (
	exitGood        = 0
	exitBad         = 1
	exitUsage       = 2
	exitUnconnected = 3
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    every bot got every message in time
  1    some did not, or were lost
  2    wrong flags
  3    no bot could be made ready
  130  interrupted
`

// Command runs the command with what follows its name, until it is done, ctx ends or an interrupt comes,
// and returns the exit code. The program has to run Command for its own arguments "bots ...", since
// for many bots it starts itself again.
func Command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == crewFlag {
		return crewProcess()
	}
	p, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	res, err := run(ctx, p, newProgress(stderr))
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "ranchctl bots: interrupted")
		return exitInterrupted
	case errors.Is(err, errUnconnected):
		fmt.Fprintln(stderr, "ranchctl bots:", err)
		return exitUnconnected
	case err != nil:
		fmt.Fprintln(stderr, "ranchctl bots:", err)
		return exitBad
	}
	if p.JSON {
		err = res.writeJSON(stdout)
	} else {
		err = res.writeText(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "ranchctl bots:", err)
		return exitBad
	}
	if res.Bad > 0 {
		return exitBad
	}
	return exitGood
}
