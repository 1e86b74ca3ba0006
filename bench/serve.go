package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// maxLife ends a child that its orchestrator has forgotten.
const maxLife = 10 * time.Minute

// serverReady is the server's first line.
type serverReady struct {
	Addr string `json:"addr"`
}

// serveMain runs one engine. It prints its address and then answers one JSON line to each line on stdin:
// "stat" with a procStat, "gc" with a procStat taken after memory was collected and returned to the system.
// It ends when stdin does.
func serveMain(args []string) error {
	fs := flag.NewFlagSet("bench serve", flag.ContinueOnError)
	name := fs.String("engine", "bare", "the engine to run")
	withTLS := fs.Bool("tls", false, "serve TLS 1.3 instead of plain TCP")
	lines := fs.Bool("lines", false, "requests are lines")
	frames := fs.Bool("frames", false, "requests are frames with four bytes of length before them")
	limit := fs.Int("limit", 0, "connections served at once, for engines that can hold a limit; 0 is no limit")
	if err := fs.Parse(args); err != nil {
		return err
	}
	e, err := findEngine(*name)
	if err != nil {
		return err
	}
	cfg := serveConfig{limit: *limit, frames: *frames, lines: *lines}
	if *withTLS {
		if !e.tls {
			return fmt.Errorf("engine %s cannot serve TLS", e.name)
		}
		if cfg.tls, err = serverTLS(); err != nil {
			return fmt.Errorf("make the certificate: %w", err)
		}
	}
	if *limit > 0 && !e.limit {
		return fmt.Errorf("engine %s cannot hold a limit", e.name)
	}
	stdout, err := ownStdout()
	if err != nil {
		return err
	}
	addr, err := e.start(cfg)
	if err != nil {
		return fmt.Errorf("start engine %s: %w", e.name, err)
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	out := json.NewEncoder(stdout)
	if err := out.Encode(serverReady{Addr: addr}); err != nil {
		return err
	}
	return answerStats(out)
}

// ownStdout takes stdout away from the engine, whose log lines would mix with the answers: they go to stderr.
func ownStdout() (*os.File, error) {
	fd, err := syscall.Dup(1)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), "answers"), os.NewSyscallError("dup3", syscall.Dup3(2, 1, 0))
}

func answerStats(out *json.Encoder) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "stat":
		case "gc":
			// Twice, because stacks shrink by half per collection and pools survive one.
			runtime.GC()
			runtime.GC()
			debug.FreeOSMemory()
		default:
			return fmt.Errorf("unknown request %q; there are stat and gc", in.Text())
		}
		st, err := ownStat()
		if err != nil {
			return err
		}
		if err := out.Encode(st); err != nil {
			return err
		}
	}
	return in.Err()
}
