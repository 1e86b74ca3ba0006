package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// serveConfig is the configuration of an engine.
type serveConfig struct {
	tls      *tls.Config // nil: plain TCP
	limit    int         // connections served at a time; 0: no limit
	lines    bool        // each request is a line
	frames   bool        // each request is a frame with a length prefix of four bytes; an engine may echo the bytes
	upstream string      // address of the echo server to which a relay forwards
}

// engine is a server that is compared. It listens on a loopback port and echoes, or fans out.
type engine struct {
	name  string
	about string
	tls   bool // it supports TLS
	limit bool // it supports a connection limit
	http  bool // it serves HTTP/1.1 instead of echoing
	// httpAnswer is what it answers to httpRequest; nil: the function httpAnswer.
	httpAnswer func() []byte
	greets     bool          // it sends a line to each new connection
	relay      bool          // it forwards connections to an echo server
	fanout     *wireProtocol // it sends what one client publishes to all members; nil: it echoes
	// missing returns what must be installed first, or "". nil means nothing.
	missing func() string
	// only is the name of the only workload that runs the engine if --engines does not name it; ""
	// is no restriction.
	only string
	exe  string // the bench that has the engine; "" is this executable
	// start starts the server and returns its address. The server runs until the process exits.
	start func(cfg serveConfig) (addr string, err error)
}

// engines are the registered engines in the order of their file names.
var engines []engine

func register(e engine) { engines = append(engines, e) }

func findEngine(name string) (engine, error) {
	i := slices.IndexFunc(engines, func(e engine) bool { return e.name == name })
	if i < 0 {
		return engine{}, fmt.Errorf("no engine %q; allowed are %s", name, strings.Join(engineNames(), ", "))
	}
	return engines[i], nil
}

func engineNames() []string {
	names := make([]string, len(engines))
	for i, e := range engines {
		names[i] = e.name
	}
	return names
}

// supports reports whether the engine can run the workload.
func (e engine) supports(w workload) bool {
	return (w.kind == kindFanout) == (e.fanout != nil) && w.http() == e.http && w.relay == e.relay && (!w.tls || e.tls) && (w.kind != kindCap || e.limit)
}

// enginesFor returns the engines that run a workload: the named ones that support it, or by default
// all that support it and are not restricted to other workloads.
func enginesFor(w workload, named []string) []engine {
	var picked []engine
	for _, e := range engines {
		wanted := (e.only == "" || e.only == w.name) && (w.only == nil || slices.Contains(w.only, e.name))
		if len(named) > 0 {
			wanted = slices.Contains(named, e.name)
		}
		if wanted && e.supports(w) {
			picked = append(picked, e)
		}
	}
	return picked
}

// installed splits engines into those that can run, and the reasons why the others cannot.
func installed(all []engine) (ready []engine, skipped []string) {
	for _, e := range all {
		if e.missing != nil {
			if why := e.missing(); why != "" {
				skipped = append(skipped, e.name+": "+why)
				continue
			}
		}
		ready = append(ready, e)
	}
	return ready, skipped
}
