// Bench puts the same work to several TCP servers and prints what each operation cost the server's processor, as a
// ratio to the plain loop ("bare": net.Listen, a goroutine per connection, read, write).
//
// One binary plays three parts. Without a subcommand it is the orchestrator, which starts itself again for every run:
//
//	bench                 the orchestrator: interleaves the engines, prints tables, writes JSON
//	bench serve ...       one engine in a process of its own, pinned to one core
//	bench load ...        the generator, pinned to another
//
// and "bench plot FILE.json" draws what was measured.
//
// A new rival is one file: an init that calls register with a start function (see engine_bare.go).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	os.Exit(dispatch(os.Args[1:]))
}

// dispatch runs the part that the first argument names and returns the exit code.
func dispatch(args []string) int {
	part, rest := "run", args
	if len(args) > 0 && (args[0] == "serve" || args[0] == "load" || args[0] == "plot") {
		part, rest = args[0], args[1:]
	}
	var err error
	switch part {
	case "serve":
		err = serveMain(rest)
	case "load":
		err = loadMain(rest)
	case "plot":
		err = plotMain(rest)
	default:
		err = runMain(rest)
	}
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", part, err)
		return 1
	}
	return 0
}
