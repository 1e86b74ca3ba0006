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

// maxLife is the time after which a child exits even if its orchestrator has not stopped it.
const maxLife = 10 * time.Minute

// serverReady is the first line that a server prints.
type serverReady struct {
	Addr string `json:"addr"`
	PID  int    `json:"pid"` // of the process that serves
}

// serveMain runs one engine. It prints its address and then answers each line on stdin with a JSON
// line: "stat" with a procStat, "gc" with a procStat after a garbage collection that returned free
// memory to the system. It exits at the end of stdin.
func serveMain(args []string) error {
	fs := flag.NewFlagSet("bench serve", flag.ContinueOnError)
	name := fs.String("engine", "bare", "engine to run")
	withTLS := fs.Bool("tls", false, "serve TLS 1.3 instead of plain TCP")
	lines := fs.Bool("lines", false, "each request is a line")
	frames := fs.Bool("frames", false, "each request is a frame with a length prefix of four bytes")
	upstream := fs.String("upstream", "", "address of the echo server, for engines that relay")
	limit := fs.Int("limit", 0, "connections served at a time, for engines that support a limit; 0 is no limit")
	if err := fs.Parse(args); err != nil {
		return err
	}
	e, err := findEngine(*name)
	if err != nil {
		return err
	}
	cfg := serveConfig{limit: *limit, frames: *frames, lines: *lines, upstream: *upstream}
	if *withTLS {
		if !e.tls {
			return fmt.Errorf("engine %s does not support TLS", e.name)
		}
		if cfg.tls, err = serverTLS(); err != nil {
			return fmt.Errorf("create the certificate: %w", err)
		}
	}
	if *limit > 0 && !e.limit {
		return fmt.Errorf("engine %s does not support a connection limit", e.name)
	}
	stdout, err := takeStdout()
	if err != nil {
		return err
	}
	addr, err := e.start(cfg)
	if err != nil {
		return fmt.Errorf("start engine %s: %w", e.name, err)
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	out := json.NewEncoder(stdout)
	if err := out.Encode(serverReady{Addr: addr, PID: servingPID()}); err != nil {
		return err
	}
	return answerStats(out)
}

// takeStdout returns stdout and redirects descriptor 1 to stderr, so that log lines of the engine
// do not mix with the answers.
func takeStdout() (*os.File, error) {
	fd, err := syscall.Dup(1)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), "answers"), os.NewSyscallError("dup3", syscall.Dup3(2, 1, 0))
}

// answerStats answers the requests on stdin.
func answerStats(out *json.Encoder) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "stat":
		case "gc":
			// Twice: stacks shrink by half per collection, and objects in a sync.Pool survive one.
			runtime.GC()
			runtime.GC()
			debug.FreeOSMemory()
		default:
			return fmt.Errorf("unknown request %q; allowed are stat and gc", in.Text())
		}
		st, err := statOf(servingPID())
		if err != nil {
			return err
		}
		if err := out.Encode(st); err != nil {
			return err
		}
	}
	return in.Err()
}
