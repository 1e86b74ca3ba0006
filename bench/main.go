// Command bench runs the same workloads against several TCP servers and prints the CPU time that
// each operation costs the server, as a ratio to a plain loop ("bare": net.Listen, a goroutine per
// connection, read, write).
//
//	bench                 the orchestrator: runs all engines in turn, prints tables, writes JSON
//	bench serve ...       one engine; the orchestrator starts it on one processor
//	bench load ...        the load generator; the orchestrator starts it on another processor
//	bench plot FILE.json  draws the ratios of a JSON file as an SVG
//
// To add a server, add a file whose init function calls register with a start function (see
// engine_bare.go).
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

// dispatch runs the subcommand and returns the exit code.
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
