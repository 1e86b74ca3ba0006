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
//	bench compare A B     compares two revisions of the repository
//	bench publish         measures the claims of docs/benchmarks.md and writes its tables and plots
//
// To add a server, add a file whose init function calls register with a start function (see
// engine_bare.go).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"goranch/internal/build"
)

func main() {
	os.Exit(dispatch(os.Args[1:]))
}

// commands are the subcommands by name. Without one, bench runs the orchestrator.
var commands = map[string]func(args []string) error{
	"serve":   serveMain,
	"load":    loadMain,
	"plot":    plotMain,
	"compare": compareMain,
	"publish": publishMain,
	"nodes":   nodesMain,
	"node":    nodeMain,
	"spread":  spreadMain,
}

// dispatch runs the subcommand and returns the exit code.
func dispatch(args []string) int {
	part, run := "run", runMain
	if len(args) > 0 {
		if args[0] == "--version" || args[0] == "-version" {
			printVersion(os.Stdout)
			return 0
		}
		if f := commands[args[0]]; f != nil {
			part, run, args = args[0], f, args[1:]
		}
	}
	err := run(args)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errSlower):
		return 1
	}
	fmt.Fprintf(os.Stderr, "bench %s: %v\n", part, err)
	if part == "compare" {
		return 2
	}
	return 1
}

// printVersion writes the versions of bench and of the servers that it is built with.
func printVersion(out io.Writer) {
	fmt.Fprintln(out, build.Version("bench"))
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, m := range info.Deps {
		if slices.Contains(rivalModules, m.Path) {
			fmt.Fprintln(out, m.Path, m.Version)
		}
	}
}

// rivalModules are the modules that engines are made of.
var rivalModules = []string{
	"github.com/cloudwego/netpoll", "github.com/lesismal/nbio", "github.com/nats-io/nats-server/v2", "github.com/panjf2000/gnet/v2",
}
