package main

import (
	"fmt"
	"slices"
	"strings"
)

// kind is what the generator does; it also decides which figure is compared.
type kind string

const (
	kindEcho  kind = "echo"  // request and answer over connections that stay
	kindChurn kind = "churn" // connect, one echo, close
	kindIdle  kind = "idle"  // connections that have echoed once and stay silent
	kindCap   kind = "cap"   // more clients than the limit admits; one leaves, the next is served
)

// workload is one row of work that every engine gets.
type workload struct {
	name  string
	kind  kind
	tls   bool
	conns int      // open at once (churn: in flight)
	size  int      // bytes of one request
	limit int      // cap only: connections served at once; the other conns wait
	bases []string // engines that the others are divided by
}

var workloads = []workload{
	{name: "echo-64-64", kind: kindEcho, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "echo-64-1000", kind: kindEcho, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "echo-16k-64", kind: kindEcho, conns: 64, size: 16 << 10, bases: []string{"bare", "bare32k"}},
	{name: "churn", kind: kindChurn, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "tls-echo", kind: kindEcho, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "tls-churn", kind: kindChurn, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "idle", kind: kindIdle, conns: 10_000, size: 64, bases: []string{"bare"}},
	{name: "tls-idle", kind: kindIdle, tls: true, conns: 5_000, size: 64, bases: []string{"bare"}},
	{name: "cap", kind: kindCap, conns: 500, size: 64, limit: 100, bases: []string{"limit"}},
}

// about says in words what the workload is.
func (w workload) about() string {
	transport := "plain TCP"
	if w.tls {
		transport = "TLS 1.3"
	}
	switch w.kind {
	case kindEcho:
		return fmt.Sprintf("echo of %d bytes, %d connections, %s", w.size, w.conns, transport)
	case kindChurn:
		return fmt.Sprintf("connect, echo of %d bytes, close; %d in flight, %s", w.size, w.conns, transport)
	case kindIdle:
		return fmt.Sprintf("memory of %d connections that echoed once and fell silent, %s", w.conns, transport)
	default:
		return fmt.Sprintf("limit %d, %d clients; one leaves: time until the next is served, %s", w.limit, w.conns, transport)
	}
}

// metric names the figure that ratios compare. Lower is better in all of them.
func (w workload) metric() string {
	switch w.kind {
	case kindIdle:
		return "bytes/conn"
	case kindCap:
		return "p50 µs"
	default:
		return "CPU µs/op"
	}
}

// selectWorkloads picks by name, or by the first part of a name: "echo" is every echo of plain TCP, "tls" all of TLS.
func selectWorkloads(names []string) ([]workload, error) {
	if len(names) == 0 {
		return slices.Clone(workloads), nil
	}
	var picked []workload
	used := make(map[string]bool)
	for _, w := range workloads {
		for _, n := range names {
			if w.name == n || strings.HasPrefix(w.name, n+"-") {
				used[n] = true
				if !slices.ContainsFunc(picked, func(p workload) bool { return p.name == w.name }) {
					picked = append(picked, w)
				}
			}
		}
	}
	for _, n := range names {
		if !used[n] {
			return nil, fmt.Errorf("no workload %q; there are %s", n, strings.Join(workloadNames(), ", "))
		}
	}
	return picked, nil
}

func workloadNames() []string {
	names := make([]string, len(workloads))
	for i, w := range workloads {
		names[i] = w.name
	}
	return names
}
