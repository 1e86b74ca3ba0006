// Command bench runs the same workloads against several TCP servers and prints the CPU time that
// each operation costs the server, as a ratio to a plain loop ("bare": net.Listen, a goroutine per
// connection, read, write).
//
//	bench                 the orchestrator: runs all engines in turn, prints tables, writes JSON
//	bench serve ...       one engine; the orchestrator starts it on one processor
//	bench load ...        the load generator; the orchestrator starts it on another processor
//	bench plot FILE.json  draws the ratios of a JSON file as an SVG
//	bench nodes           one publish to subscribers on one, two and three nodes
//	bench node ...        one node; bench nodes starts it
//	bench spread ...      the load generator for several nodes; bench nodes starts it
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

// parts are the subcommands. Without one, args are those of run.
var parts = map[string]func(args []string) error{
	"run": runMain, "serve": serveMain, "load": loadMain, "plot": plotMain,
	"nodes": nodesMain, "node": nodeMain, "spread": spreadMain,
}

// dispatch runs the subcommand and returns the exit code.
func dispatch(args []string) int {
	part, rest := "run", args
	if len(args) > 0 && parts[args[0]] != nil {
		part, rest = args[0], args[1:]
	}
	err := parts[part](rest)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", part, err)
		return 1
	}
	return 0
}
