package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// claim is one section of docs/benchmarks.md: a statement that a table and a plot show to be true
// or false.
type claim struct {
	name    string // of the files with its results and its plot
	title   string
	text    string
	works   string
	engines string
	rounds  int
	// The times of a run. 0 is the default of the flag.
	duration, warmup, settle time.Duration
}

var claims = []claim{
	{
		name: "echo", title: "Echo", rounds: 7, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text:    "the CPU time of the server per request and answer on persistent connections is that of the plain loop, or less.",
		works:   "echo-64-64,echo-64-1000,echo-64-8000,echo-16k-64",
		engines: "bare,bare32k,lazy,limit,gnet,netpoll,nbio,goranch,goranch-loop,goranch-handler,ranch",
	},
	{
		name: "churn", title: "Connections per second", rounds: 7, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text: "to accept, supervise, serve and end a connection costs no more CPU time than the plain loop. `http-churn` is the same " +
			"with a request of HTTP/1.1 on each connection.",
		works:   "churn,http-churn",
		engines: "bare,lazy,limit,gnet,netpoll,nbio,goranch,goranch-loop,goranch-handler,ranch,nethttp,goranch-nethttp,haproxy-http",
	},
	{
		name: "tls", title: "TLS", rounds: 7, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text:    "TLS 1.3 costs what crypto/tls costs: requests on persistent connections, and full handshakes.",
		works:   "tls-echo,tls-churn",
		engines: "bare,limit,goranch,goranch-loop,goranch-handler,ranch",
	},
	{
		name: "memory", title: "Idle memory", rounds: 3,
		text:    "an idle connection needs less user space memory than in the plain loop.",
		works:   "idle,tls-idle",
		engines: "bare,lazy,limit,gnet,netpoll,nbio,goranch,goranch-loop,goranch-handler,ranch",
	},
	{
		name: "cap", title: "At the limit of connections", rounds: 7,
		text:    "with a limit of 100 and 500 clients that wait, never more than 100 are served, none is reset, and the next is served as fast as behind LimitListener.",
		works:   "cap",
		engines: "limit,goranch,goranch-loop,goranch-handler",
	},
	{
		name: "latency", title: "Latency under a given load", rounds: 7, duration: 2 * time.Second, warmup: 300 * time.Millisecond,
		text: "under a given load, 99 % of the answers arrive as soon as from the plain loop. Requests are sent at scheduled times, whether or not earlier ones were answered, and latency counts from the scheduled time. The load is a share of " +
			"what bare answered in a closed loop in the same round; it is the same for all engines.",
		works:   "open-64-1000",
		engines: "bare,limit,gnet,goranch,goranch-handler,ranch",
	},
	{
		name: "scale", title: "100,000 connections", rounds: 3,
		text:    "a connection costs no more memory and CPU time than in the plain loop when there are 100,000, of six server processes on one core. Each connection echoes, is idle, and echoes again.",
		works:   "conns-100000",
		engines: "bare,gnet,goranch,goranch-handler,ranch",
	},
	{
		name: "broadcast", title: "Broadcast", rounds: 5, duration: 2 * time.Second, settle: time.Second,
		text:    "the time until the last of N members has a message of 64 bytes is that of a loop of writes, or less.",
		works:   "broadcast-1000,broadcast-10000,broadcast-19000",
		engines: "goranch-group,goranch-topics,nats,redis,mosquitto,write-loop,write-loop-raw",
	},
	{
		name: "saturated", title: "Broadcast back to back", rounds: 3, settle: time.Second,
		text:    "messages published back to back cost less CPU time per delivery than in dedicated servers.",
		works:   "broadcast-saturated",
		engines: "goranch-group,goranch-topics,nats,redis,mosquitto,write-loop",
	},
	{
		name: "relay", title: "Relay", rounds: 5, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text:    "to forward a request and its answer costs no more CPU time than in haproxy and nginx.",
		works:   "relay-64-64,relay-64k-64,relay-1m-16",
		engines: "goranch-relay,bare-relay,haproxy,haproxy-splice,nginx",
	},
	{
		name: "http", title: "HTTP", rounds: 5, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text:    "net/http on a listener of this library costs what it costs on one of package net.",
		works:   "http-64",
		engines: "nethttp,goranch-nethttp,haproxy-http",
	},
	{
		name: "calls", title: "Calls of the shell", rounds: 5, duration: 1500 * time.Millisecond, warmup: 300 * time.Millisecond,
		text: "a call of the shell costs less than twice an echo of a handler. 1,000 connections send lines of 64 bytes, each a `name:value` that a Go function of the [shell](shell.md) answers; `goranch-handler` echoes the " +
			"lines. A call runs in a worker goroutine; with `Command.Quick` (`goranch-shell-quick`) it runs in the goroutine that reads the connection.",
		works:   "calls",
		engines: "bare,goranch-handler,goranch-shell,goranch-shell-quick",
	},
}

// selectClaims returns the named claims, or all.
func selectClaims(names []string) ([]claim, error) {
	if len(names) == 0 {
		return claims, nil
	}
	var picked []claim
	for _, n := range names {
		i := slices.IndexFunc(claims, func(c claim) bool { return c.name == n })
		if i < 0 {
			return nil, fmt.Errorf("no claim %q; allowed are %s", n, strings.Join(claimNames(), ", "))
		}
		picked = append(picked, claims[i])
	}
	return picked, nil
}

func claimNames() []string {
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = c.name
	}
	return names
}

// args returns the flags that measure the claim.
func (c claim) args() []string {
	args := []string{"--work", c.works, "--engines", c.engines, "--rounds", fmt.Sprint(c.rounds)}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"--duration", c.duration}, {"--warmup", c.warmup}, {"--settle", c.settle}} {
		if f.value > 0 {
			args = append(args, f.name, f.value.String())
		}
	}
	return args
}
