// Package bots implements the command "ranchctl bots": it connects many clients to a Janus server,
// publishes messages and measures how long each message takes to reach each client.
//
//	code := bots.Command(ctx, []string{"--clients", "10000"}, os.Stdout, os.Stderr)
//
// # Structure
//
// The coordinator (coordinator.go) parses the flags, publishes, and prints the result. Workers
// (worker.go) run the clients: one worker in this process, or several in child processes if the
// clients need more descriptors than one process may have. Coordinator and worker exchange JSON
// lines over pipes in both cases (session.go). The state of a worker has one owner at a time: an
// epoll loop on Linux, a mutex elsewhere (driver_*.go).
//
// # Time
//
// Two times are measured for each delivery. The latency is the wall clock when a client has read
// the message minus the timestamp in the message; it is valid only if server and clients share a
// clock. The wait starts when the message was published, or was due, and is measured with the
// monotonic clock, which all processes of a Linux machine share.
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
  0    every client received every message in time
  1    a client missed a message, or lost its connection
  2    invalid flags
  3    the server cannot be reached, or no client became ready
  130  interrupted
`

// Command runs the command with the arguments that follow its name and returns the exit code. It
// returns when the run is complete, ctx is done or the process receives an interrupt. For many
// clients it starts this executable again with the arguments "bots --worker", for which the program
// must call Command too.
func Command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == workerFlag {
		return workerMain()
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
