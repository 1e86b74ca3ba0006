package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// loadConfig is what one run of the generator is told.
type loadConfig struct {
	work      kind
	engine    string
	addr      netip.AddrPort
	serverPID int
	tls       bool
	conns     int
	size      int
	frames    bool
	lines     bool
	greets    bool     // the server sends a line first
	fanout    *dialect // nil: the server echoes
	burst     int
	limit     int
	reps      int
	warmup    time.Duration
	duration  time.Duration
	next      func() error // waits for the orchestrator's leave to go on to the next phase
	say       func(v any) error
}

// loadMain runs the generator: phases and the result are JSON lines on stdout, a line on stdin starts the next phase,
// the end of stdin ends the process.
func loadMain(args []string) error {
	cfg, err := parseLoad(args)
	if err != nil {
		return err
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	cfg.next = phaseGate()
	cfg.say = json.NewEncoder(os.Stdout).Encode
	switch {
	case cfg.work == kindEcho && cfg.tls:
		return loadTLSEcho(cfg)
	case cfg.work == kindEcho:
		return loadEcho(cfg)
	case cfg.work == kindChurn && cfg.tls:
		return loadTLSChurn(cfg)
	case cfg.work == kindChurn:
		return loadChurn(cfg)
	case cfg.work == kindIdle:
		return loadIdle(cfg)
	case cfg.work == kindCap && !cfg.tls:
		return loadCap(cfg)
	case cfg.work == kindFanout && !cfg.tls && cfg.fanout != nil:
		return loadFanout(cfg)
	}
	return fmt.Errorf("no work %q (tls %v, engine %s); there are echo, churn, idle, and cap and fanout without --tls, the latter with an engine that can",
		cfg.work, cfg.tls, cfg.engine)
}

func parseLoad(args []string) (loadConfig, error) {
	var cfg loadConfig
	fs := flag.NewFlagSet("bench load", flag.ContinueOnError)
	work := fs.String("work", "echo", "echo, churn, idle, cap or fanout")
	addr := fs.String("addr", "", "the server, as 127.0.0.1:port")
	fs.IntVar(&cfg.serverPID, "server-pid", 0, "the server's process, whose CPU time is read at both ends of the window")
	fs.BoolVar(&cfg.tls, "tls", false, "speak TLS 1.3")
	fs.IntVar(&cfg.conns, "conns", 64, "connections open at once")
	fs.IntVar(&cfg.size, "size", 64, "bytes of one request")
	fs.StringVar(&cfg.engine, "engine", "bare", "the engine that serves, which decides how it is spoken to")
	fs.BoolVar(&cfg.frames, "frames", false, "echo: put four bytes of length before each request")
	fs.BoolVar(&cfg.lines, "lines", false, "echo: each request is a line")
	fs.IntVar(&cfg.burst, "burst", 1, "fanout: messages published at once")
	fs.IntVar(&cfg.limit, "limit", 100, "cap: connections that the server serves at once")
	fs.IntVar(&cfg.reps, "reps", 300, "cap: how often one leaves")
	fs.DurationVar(&cfg.warmup, "warmup", 500*time.Millisecond, "time before the window")
	fs.DurationVar(&cfg.duration, "duration", 3*time.Second, "length of the window")
	if err := fs.Parse(args); err != nil {
		return cfg, err
	}
	cfg.work = kind(*work)
	e, err := findEngine(cfg.engine)
	if err != nil {
		return cfg, err
	}
	cfg.fanout, cfg.greets = e.fanout, e.greets
	if cfg.addr, err = netip.ParseAddrPort(*addr); err != nil {
		return cfg, fmt.Errorf("--addr %q: %w", *addr, err)
	}
	if !cfg.addr.Addr().Is4() || !cfg.addr.Addr().IsLoopback() {
		return cfg, fmt.Errorf("--addr %q: want an IPv4 loopback address; this generator only loads its own machine", *addr)
	}
	if cfg.conns < 1 || cfg.size < 1 || cfg.serverPID < 1 || cfg.burst < 1 {
		return cfg, errors.New("--conns, --size, --burst and --server-pid must be at least 1")
	}
	return cfg, nil
}

// phaseGate reads stdin: each line lets one wait pass, and its end ends the process, so that a generator never
// outlives its orchestrator.
func phaseGate() (next func() error) {
	lines := make(chan struct{}, 8)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- struct{}{}
		}
		os.Exit(0)
	}()
	return func() error {
		select {
		case <-lines:
			return nil
		case <-time.After(time.Minute):
			return errors.New("the orchestrator gave no word for a minute")
		}
	}
}

// payload is what every request carries. Its bytes differ from place to place, so that a shifted or doubled answer
// does not pass for a right one.
func (cfg loadConfig) payload() []byte {
	p := make([]byte, cfg.size)
	x := uint32(2463534242)
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x)
	}
	switch {
	case cfg.frames:
		return frame(p)
	case cfg.lines:
		for i, b := range p {
			p[i] = 'a' + b%26
		}
		copy(p, callName+":")
		p[len(p)-1] = '\n'
	}
	return p
}

// target is the server's address for the socket calls.
func (cfg loadConfig) target() *syscall.SockaddrInet4 {
	return &syscall.SockaddrInet4{Addr: cfg.addr.Addr().As4(), Port: int(cfg.addr.Port())}
}

// sourceAddr spreads clients over 127.0.0.0/8, so that ports of one address do not run out.
func sourceAddr(i int) [4]byte {
	return [4]byte{127, byte(1 + i/62500%250), byte(i / 250 % 250), byte(1 + i%250)}
}
