package main

import (
	"fmt"
	"slices"
	"strings"
)

// kind is what the generator does. It decides which figure is compared.
type kind string

const (
	kindEcho  kind = "echo"  // requests and answers on persistent connections
	kindHTTP  kind = "http"  // GET of HTTP/1.1 on persistent connections
	kindChurn kind = "churn" // connect, one echo, close
	kindIdle  kind = "idle"  // connections that echo once and are then idle
	kindCap   kind = "cap"   // more clients than the limit; when one closes, the next is served

	kindFanout kind = "fanout" // one client publishes, all members receive

	kindOpen  kind = "open"  // requests at scheduled times, whether or not earlier ones were answered
	kindScale kind = "scale" // idle connections of several generators to several servers
)

// workload is a kind of work with its parameters.
type workload struct {
	name   string
	kind   kind
	tls    bool
	conns  int      // open at a time (churn: in flight)
	size   int      // bytes of one request
	limit  int      // cap only: connections served at a time; the others wait
	frames bool     // echo only: each request has a length prefix of four bytes
	relay  bool     // echo only: the engines forward to an echo server on the processor of the generator
	lines  bool     // echo only: each request is a line that calls a method of a shell
	web    bool     // churn only: GET of HTTP/1.1 instead of an echo
	load   float64  // open only: the offered load as a share of the highest load of the base engine
	rate   float64  // open only: the offered requests per second; 0: derived from load in each round
	each   int      // scale only: the highest number of connections of one process
	burst  int      // fanout only: messages published back to back; the next burst follows when all have arrived
	bases  []string // engines whose figures the others are divided by
	only   []string // the engines that run it if --engines names none; nil: all
}

var workloads = []workload{
	{name: "echo-64-64", kind: kindEcho, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "echo-64-1000", kind: kindEcho, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "echo-64-8000", kind: kindEcho, conns: 8000, size: 64, bases: []string{"bare"}},
	{name: "echo-16k-64", kind: kindEcho, conns: 64, size: 16 << 10, bases: []string{"bare", "bare32k"}},
	{name: "echo-frames-64", kind: kindEcho, frames: true, conns: 64, size: 64, bases: []string{"bare"}, only: []string{"bare", "goranch-handler"}},
	{name: "calls-1000", kind: kindEcho, lines: true, conns: 1000, size: 64, bases: []string{"goranch-handler"}, only: []string{"bare", "goranch-handler", "goranch-shell", "goranch-shell-quick"}},
	{name: "http-64", kind: kindHTTP, conns: 64, size: httpBody, bases: []string{"nethttp"}},
	{name: "relay-64-64", kind: kindEcho, relay: true, conns: 64, size: 64, bases: []string{"haproxy", "nginx"}},
	{name: "relay-64k-64", kind: kindEcho, relay: true, conns: 64, size: 64 << 10, bases: []string{"haproxy", "nginx"}},
	{name: "relay-1m-16", kind: kindEcho, relay: true, conns: 16, size: 1 << 20, bases: []string{"haproxy", "nginx"}},
	{name: "relay-idle", kind: kindIdle, relay: true, conns: 5_000, size: 64, bases: []string{"haproxy", "nginx"}},
	{name: "churn", kind: kindChurn, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "http-churn", kind: kindChurn, web: true, conns: 64, size: httpBody, bases: []string{"nethttp"}},
	{name: "open-64-64-20", kind: kindOpen, load: 0.2, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "open-64-64-50", kind: kindOpen, load: 0.5, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "open-64-64-80", kind: kindOpen, load: 0.8, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "open-64-1000-20", kind: kindOpen, load: 0.2, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "open-64-1000-50", kind: kindOpen, load: 0.5, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "open-64-1000-80", kind: kindOpen, load: 0.8, conns: 1000, size: 64, bases: []string{"bare"}},
	{name: "tls-echo", kind: kindEcho, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "tls-churn", kind: kindChurn, tls: true, conns: 64, size: 64, bases: []string{"bare"}},
	{name: "idle", kind: kindIdle, conns: 10_000, size: 64, bases: []string{"bare"}},
	{name: "tls-idle", kind: kindIdle, tls: true, conns: 5_000, size: 64, bases: []string{"bare"}},
	{name: "conns-100000", kind: kindScale, conns: 100_000, each: 17_000, size: 64, bases: []string{"bare"}},
	{name: "cap", kind: kindCap, conns: 500, size: 64, limit: 100, bases: []string{"limit"}},
	{name: "broadcast-1000", kind: kindFanout, conns: 1000, size: 64, burst: 1, bases: []string{"write-loop"}},
	{name: "broadcast-10000", kind: kindFanout, conns: 10_000, size: 64, burst: 1, bases: []string{"write-loop"}},
	{name: "broadcast-19000", kind: kindFanout, conns: 19_000, size: 64, burst: 1, bases: []string{"write-loop"}},
	{name: "broadcast-saturated", kind: kindFanout, conns: 1000, size: 64, burst: 1000, bases: []string{"write-loop"}},
}

// about describes the workload.
func (w workload) about() string {
	transport := "plain TCP"
	if w.tls {
		transport = "TLS 1.3"
	}
	switch {
	case w.kind == kindOpen:
		return fmt.Sprintf("requests of %d bytes at scheduled times (Poisson), %.0f %% of the highest load of %s, %d connections: latency from the scheduled time, %s",
			w.size, 100*w.load, w.bases[0], w.conns, transport)
	case w.kind == kindScale:
		return fmt.Sprintf("memory and CPU of %d connections to several server processes, which echo, are idle and echo again, %s", w.conns, transport)
	case w.web:
		return fmt.Sprintf("connect, GET with a body of %d bytes, close; %d in flight, %s", httpBody, w.conns, transport)
	case w.kind == kindFanout && w.burst > 1:
		return fmt.Sprintf("%d messages of %d bytes back to back to %d members, %s", w.burst, w.size, w.conns, transport)
	case w.kind == kindFanout:
		return fmt.Sprintf("one message of %d bytes to %d members: time until the last member has received it, %s", w.size, w.conns, transport)
	case w.relay && w.kind == kindEcho:
		return fmt.Sprintf("echo of %d bytes through a relay, %d connections, %s", w.size, w.conns, transport)
	case w.relay:
		return fmt.Sprintf("memory of %d relayed connections that echoed once and are idle, %s", w.conns, transport)
	case w.frames:
		return fmt.Sprintf("echo of frames of %d bytes and a length prefix, %d connections, %s", w.size, w.conns, transport)
	case w.lines:
		return fmt.Sprintf("echo of lines of %d bytes, which call a method of the shell, %d connections, %s", w.size, w.conns, transport)
	case w.kind == kindEcho:
		return fmt.Sprintf("echo of %d bytes, %d connections, %s", w.size, w.conns, transport)
	case w.kind == kindHTTP:
		return fmt.Sprintf("GET with a body of %d bytes, HTTP/1.1 with keep-alive, %d connections, %s", httpBody, w.conns, transport)
	case w.kind == kindChurn:
		return fmt.Sprintf("connect, echo of %d bytes, close; %d in flight, %s", w.size, w.conns, transport)
	case w.kind == kindIdle:
		return fmt.Sprintf("memory of %d connections that echoed once and are idle, %s", w.conns, transport)
	default:
		return fmt.Sprintf("limit %d, %d clients; one closes: time until the next is served, %s", w.limit, w.conns, transport)
	}
}

// metric names the figure that ratios compare. Lower is better in all cases.
func (w workload) metric() string {
	switch {
	case w.kind == kindIdle, w.kind == kindScale:
		return "bytes/conn"
	case w.kind == kindOpen:
		return "p99 µs"
	case w.kind == kindCap || w.kind == kindFanout && w.burst == 1:
		return "p50 µs"
	default:
		return "CPU µs/op"
	}
}

// http reports whether the engines serve HTTP.
func (w workload) http() bool { return w.kind == kindHTTP || w.web }

// processes returns the number of processes of a kind that the connections need.
func (w workload) processes() int {
	if w.kind != kindScale {
		return 1
	}
	return (w.conns + w.each - 1) / w.each
}

// selectWorkloads selects workloads by name, or by the first parts of a name: "echo" selects every
// echo of plain TCP, "tls" all workloads of TLS.
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
			return nil, fmt.Errorf("no workload %q; allowed are %s", n, strings.Join(workloadNames(), ", "))
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
