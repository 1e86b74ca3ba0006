package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// serveConfig is what an engine is told when it starts.
type serveConfig struct {
	tls    *tls.Config // nil: plain TCP
	limit  int         // connections served at once; 0: as many as come
	lines  bool        // each request is a line
	frames bool        // each request is a frame with four bytes of length before it; to echo bytes is right too
}

// engine is one server under comparison, on one loopback port. It echoes whatever arrives, or fans out.
type engine struct {
	name   string
	about  string
	tls    bool     // it can serve TLS
	limit  bool     // it can hold a limit of connections
	greets bool     // it sends a line before it is asked for anything
	fanout *dialect // it sends what one client publishes to all members, and does nothing else; nil: it echoes
	// only restricts it to workloads of this name unless it is asked for with --engines; "" is no restriction.
	only string
	// start begins to serve and returns the bound address; the engine then runs until the process ends.
	start func(cfg serveConfig) (addr string, err error)
}

// engines holds what the engine files registered, in the order of their file names.
var engines []engine

func register(e engine) { engines = append(engines, e) }

func findEngine(name string) (engine, error) {
	i := slices.IndexFunc(engines, func(e engine) bool { return e.name == name })
	if i < 0 {
		return engine{}, fmt.Errorf("no engine %q; there are %s", name, strings.Join(engineNames(), ", "))
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

// can tells whether the engine is able to do the workload at all.
func (e engine) can(w workload) bool {
	return (w.kind == kindFanout) == (e.fanout != nil) && (!w.tls || e.tls) && (w.kind != kindCap || e.limit)
}

// enginesFor picks the engines of a workload: those named, or all that fit when none is named.
func enginesFor(w workload, named []string) []engine {
	var picked []engine
	for _, e := range engines {
		wanted := (e.only == "" || e.only == w.name) && (w.only == nil || slices.Contains(w.only, e.name))
		if len(named) > 0 {
			wanted = slices.Contains(named, e.name)
		}
		if wanted && e.can(w) {
			picked = append(picked, e)
		}
	}
	return picked
}
