package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// loadConfig is the configuration of one run of the generator.
type loadConfig struct {
	// The work.
	work   kind
	tls    bool
	conns  int
	size   int // bytes of a request
	frames bool
	lines  bool
	web    bool // churn: GET of HTTP/1.1
	burst  int
	limit  int
	reps   int
	rate   float64 // open: requests per second

	// The server.
	engine    string
	addr      netip.AddrPort
	serverPID int
	greets    bool          // the server sends a line first
	fanout    *wireProtocol // nil: the server echoes
	// httpAnswer is what the server answers to httpRequest; nil: see httpAnswer.
	httpAnswer func() []byte

	// The measurement.
	warmup   time.Duration
	duration time.Duration
	next     func() error      // waits until the orchestrator lets the next phase begin
	send     func(v any) error // sends a JSON line to the orchestrator
}

// loadMain runs the generator. It writes phases and the result as JSON lines to stdout. A line on
// stdin starts the next phase; the end of stdin ends the process.
func loadMain(args []string) error {
	cfg, err := parseLoad(args)
	if err != nil {
		return err
	}
	time.AfterFunc(maxLife, func() { os.Exit(2) })
	cfg.next = phaseGate()
	cfg.send = json.NewEncoder(os.Stdout).Encode
	switch {
	case cfg.work == kindEcho && cfg.tls:
		return loadTLSEcho(cfg)
	case cfg.work == kindEcho, cfg.work == kindHTTP && !cfg.tls:
		return loadEcho(cfg)
	case cfg.work == kindChurn && cfg.tls:
		return loadTLSChurn(cfg)
	case cfg.work == kindChurn:
		return loadChurn(cfg)
	case cfg.work == kindOpen && !cfg.tls:
		return loadOpen(cfg)
	case cfg.work == kindIdle:
		return loadIdle(cfg)
	case cfg.work == kindCap && !cfg.tls:
		return loadCap(cfg)
	case cfg.work == kindFanout && !cfg.tls && cfg.fanout != nil:
		return loadFanout(cfg)
	}
	return fmt.Errorf("--work %s (tls %v, engine %s): allowed are echo, churn and idle; without --tls also http, open, cap, and fanout with an engine that supports it",
		cfg.work, cfg.tls, cfg.engine)
}

func parseLoad(args []string) (loadConfig, error) {
	var cfg loadConfig
	fs := flag.NewFlagSet("bench load", flag.ContinueOnError)
	work := fs.String("work", "echo", "echo, http, open, churn, idle, cap or fanout")
	addr := fs.String("addr", "", "address of the server, as 127.0.0.1:port")
	fs.IntVar(&cfg.serverPID, "server-pid", 0, "process id of the server, whose CPU time is read at both ends of the window")
	fs.BoolVar(&cfg.tls, "tls", false, "use TLS 1.3")
	fs.IntVar(&cfg.conns, "conns", 64, "connections open at once")
	fs.IntVar(&cfg.size, "size", 64, "bytes of one request")
	fs.StringVar(&cfg.engine, "engine", "bare", "the engine that serves; decides the wire protocol")
	fs.BoolVar(&cfg.frames, "frames", false, "echo: each request is a frame with a length prefix of four bytes")
	fs.BoolVar(&cfg.lines, "lines", false, "echo: each request is a line")
	fs.BoolVar(&cfg.web, "web", false, "churn: each request is a GET of HTTP/1.1")
	fs.Float64Var(&cfg.rate, "rate", 0, "open: requests per second")
	fs.IntVar(&cfg.burst, "burst", 1, "fanout: messages published at once")
	fs.IntVar(&cfg.limit, "limit", 100, "cap: connections that the server serves at once")
	fs.IntVar(&cfg.reps, "reps", 300, "cap: how many clients close, one after the other")
	fs.DurationVar(&cfg.warmup, "warmup", 500*time.Millisecond, "time before the measured window")
	fs.DurationVar(&cfg.duration, "duration", 3*time.Second, "length of the measured window")
	if err := fs.Parse(args); err != nil {
		return cfg, err
	}
	cfg.work = kind(*work)
	e, err := findEngine(cfg.engine)
	if err != nil {
		return cfg, err
	}
	cfg.fanout, cfg.greets, cfg.httpAnswer = e.fanout, e.greets, e.httpAnswer
	if cfg.addr, err = netip.ParseAddrPort(*addr); err != nil {
		return cfg, fmt.Errorf("--addr %q: %w", *addr, err)
	}
	if !cfg.addr.Addr().Is4() || !cfg.addr.Addr().IsLoopback() {
		return cfg, fmt.Errorf("--addr %q: allowed are IPv4 loopback addresses: the generator must not load other machines", *addr)
	}
	if cfg.conns < 1 || cfg.size < 1 || cfg.serverPID < 1 || cfg.burst < 1 {
		return cfg, errors.New("--conns, --size, --burst and --server-pid must be at least 1")
	}
	return cfg, nil
}

// phaseGate returns a function that waits for the next line on stdin. The end of stdin ends the
// process, so that a generator does not outlive its orchestrator.
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
			return errors.New("no line from the orchestrator for a minute")
		}
	}
}

// exchanged returns the request and its answer.
func (cfg loadConfig) exchanged() (request, answer []byte) {
	switch {
	case cfg.work != kindHTTP && !cfg.web:
		request = cfg.payload()
		return request, request
	case cfg.httpAnswer != nil:
		return []byte(httpRequest), cfg.httpAnswer()
	}
	return []byte(httpRequest), httpAnswer()
}

// payload returns the request. Its bytes are pseudo-random, so that a shifted or repeated answer is
// detected.
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
	case cfg.fanout != nil && cfg.fanout.text:
		for i, b := range p {
			p[i] = 'a' + b%26
		}
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
