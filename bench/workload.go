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
	// One client publishes, all members get it.
	kindFanout kind = "fanout"
)

// workload is one row of work that every engine gets.
type workload struct {
	name   string
	kind   kind
	tls    bool
	conns  int      // open at once (churn: in flight)
	size   int      // bytes of one request
	limit  int      // cap only: connections served at once; the other conns wait
	frames bool     // echo only: four bytes of length go before each request
	lines  bool     // echo only: each request is a line, which calls a method of a shell that answers it
	burst  int      // fanout only: messages published at once; the next follow when all have arrived
	bases  []string // engines that the others are divided by
	only   []string // engines it is meant for unless others are asked for; nil: all
}

var workloads = []workload{
	{name: "echo-64-64", kind: kindEcho, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "echo-64-1000", kind: kindEcho, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "echo-16k-64", kind: kindEcho, conns: 64, size: 16 << 10, bases: []string{"bare", "bare32k"}},
	{name: "echo-frames-64", kind: kindEcho, frames: true, conns: 64, size: 64, bases: []string{"bare"}, only: []string{"bare", "goranch-handler"}},
	{name: "calls-1000", kind: kindEcho, lines: true, conns: 1000, size: 64, bases: []string{"goranch-handler"}, only: []string{"bare", "goranch-handler", "goranch-shell", "goranch-shell-quick"}},
	{name: "churn", kind: kindChurn, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "tls-echo", kind: kindEcho, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "tls-churn", kind: kindChurn, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "idle", kind: kindIdle, conns: 10_000, size: 64, bases: []string{"bare"}},
	{name: "tls-idle", kind: kindIdle, tls: true, conns: 5_000, size: 64, bases: []string{"bare"}},
	{name: "cap", kind: kindCap, conns: 500, size: 64, limit: 100, bases: []string{"limit"}},
	{name: "broadcast-1000", kind: kindFanout, conns: 1000, size: 64, burst: 1, bases: []string{"write-loop"}},
	{name: "broadcast-10000", kind: kindFanout, conns: 10_000, size: 64, burst: 1, bases: []string{"write-loop"}},
	{name: "broadcast-saturated", kind: kindFanout, conns: 1000, size: 64, burst: 1000, bases: []string{"write-loop"}},
}

// about says in words what the workload is.
func (w workload) about() string {
	transport := "plain TCP"
	if w.tls {
		transport = "TLS 1.3"
	}
	switch {
	case w.kind == kindFanout && w.burst > 1:
		return fmt.Sprintf("%d messages of %d bytes back to back to %d members, %s", w.burst, w.size, w.conns, transport)
	case w.kind == kindFanout:
		return fmt.Sprintf("one message of %d bytes to %d members: time until the last has it, %s", w.size, w.conns, transport)
	case w.frames:
		return fmt.Sprintf("echo of frames of %d bytes and their length, %d connections, %s", w.size, w.conns, transport)
	case w.lines:
		return fmt.Sprintf("echo of lines of %d bytes, which name a method of the shell, %d connections, %s", w.size, w.conns, transport)
	case w.kind == kindEcho:
		return fmt.Sprintf("echo of %d bytes, %d connections, %s", w.size, w.conns, transport)
	case w.kind == kindChurn:
		return fmt.Sprintf("connect, echo of %d bytes, close; %d in flight, %s", w.size, w.conns, transport)
	case w.kind == kindIdle:
		return fmt.Sprintf("memory of %d connections that echoed once and fell silent, %s", w.conns, transport)
	default:
		return fmt.Sprintf("limit %d, %d clients; one leaves: time until the next is served, %s", w.limit, w.conns, transport)
	}
}

// metric names the figure that ratios compare. Lower is better in all of them.
func (w workload) metric() string {
	switch {
	case w.kind == kindIdle:
		return "bytes/conn"
	case w.kind == kindCap || w.kind == kindFanout && w.burst == 1:
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
