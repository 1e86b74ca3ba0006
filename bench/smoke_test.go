package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain also runs the subcommands: the orchestrator starts its own executable, which is the test
// binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		os.Exit(dispatch(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestSmoke runs every kind of workload once, small and short.
func TestSmoke(t *testing.T) {
	for _, c := range []struct {
		engine string
		work   workload
	}{
		{"bare", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"bare", workload{name: "echo-large", kind: kindEcho, conns: 4, size: 1 << 20}},
		{"bare", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"bare", workload{name: "tls-echo", kind: kindEcho, tls: true, conns: 4, size: 64}},
		{"bare", workload{name: "tls-churn", kind: kindChurn, tls: true, conns: 4, size: 64}},
		{"bare", workload{name: "idle", kind: kindIdle, conns: 200, size: 64}},
		{"bare", workload{name: "open", kind: kindOpen, rate: 2000, conns: 8, size: 64, bases: []string{"bare"}}},
		{"bare", workload{name: "open-calibrated", kind: kindOpen, load: 0.1, conns: 8, size: 64, bases: []string{"bare"}}},
		{"goranch-handler", workload{name: "open", kind: kindOpen, rate: 2000, conns: 8, size: 64, bases: []string{"bare"}}},
		{"bare", workload{name: "conns", kind: kindScale, conns: 200, each: 70, size: 64, bases: []string{"bare"}}},
		{"goranch-handler", workload{name: "conns", kind: kindScale, conns: 200, each: 70, size: 64, bases: []string{"bare"}}},
		{"nethttp", workload{name: "http-churn", kind: kindChurn, web: true, conns: 8, size: httpBody}},
		{"haproxy-http", workload{name: "http-churn", kind: kindChurn, web: true, conns: 8, size: httpBody}},
		{"haproxy-http", workload{name: "http", kind: kindHTTP, conns: 8, size: httpBody}},
		{"ranch", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"ranch", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"limit", workload{name: "cap", kind: kindCap, conns: 30, size: 64, limit: 10}},
		{"goranch", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"goranch-loop", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"goranch-handler", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"goranch-handler", workload{name: "echo-large", kind: kindEcho, conns: 4, size: 1 << 20}},
		{"goranch-handler", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"goranch-handler", workload{name: "tls-echo", kind: kindEcho, tls: true, conns: 4, size: 64}},
		{"goranch-handler", workload{name: "tls-churn", kind: kindChurn, tls: true, conns: 4, size: 64}},
		{"goranch-handler", workload{name: "idle", kind: kindIdle, conns: 200, size: 64}},
		{"goranch-handler", workload{name: "tls-idle", kind: kindIdle, tls: true, conns: 50, size: 64}},
		{"goranch-handler", workload{name: "cap", kind: kindCap, conns: 30, size: 64, limit: 10}},
		{"bare", workload{name: "echo-frames", kind: kindEcho, frames: true, conns: 8, size: 64}},
		{"goranch-shell", workload{name: "calls-1000", kind: kindEcho, lines: true, conns: 8, size: 64}},
		{"goranch-shell-quick", workload{name: "calls-1000", kind: kindEcho, lines: true, conns: 8, size: 64}},
		{"goranch-handler", workload{name: "echo-frames", kind: kindEcho, frames: true, conns: 8, size: 64}},
		{"nethttp", workload{name: "http", kind: kindHTTP, conns: 8, size: httpBody}},
		{"goranch-nethttp", workload{name: "http", kind: kindHTTP, conns: 8, size: httpBody}},
		{"gnet", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"lazy", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"lazy", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"lazy", workload{name: "idle", kind: kindIdle, conns: 200, size: 64}},
		{"netpoll", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"netpoll", workload{name: "echo-large", kind: kindEcho, conns: 4, size: 1 << 20}},
		{"netpoll", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"netpoll", workload{name: "idle", kind: kindIdle, conns: 200, size: 64}},
		{"nbio", workload{name: "echo", kind: kindEcho, conns: 8, size: 64}},
		{"nbio", workload{name: "echo-large", kind: kindEcho, conns: 4, size: 1 << 20}},
		{"nbio", workload{name: "churn", kind: kindChurn, conns: 8, size: 64}},
		{"nbio", workload{name: "idle", kind: kindIdle, conns: 200, size: 64}},
		{"goranch-group", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"goranch-group", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 500}},
		{"nats", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"nats", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 500}},
		{"goranch-topics", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"goranch-topics", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 500}},
		{"redis", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"mosquitto", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"goranch-relay", workload{name: "relay", kind: kindEcho, relay: true, conns: 8, size: 64}},
		{"goranch-relay", workload{name: "relay-large", kind: kindEcho, relay: true, conns: 4, size: 1 << 20}},
		{"bare-relay", workload{name: "relay", kind: kindEcho, relay: true, conns: 8, size: 64}},
		{"haproxy", workload{name: "relay", kind: kindEcho, relay: true, conns: 8, size: 64}},
		{"nginx", workload{name: "relay", kind: kindEcho, relay: true, conns: 8, size: 64}},
		{"write-loop", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"write-loop", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50}},
		{"write-loop-raw", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"write-loop-raw", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50}},
	} {
		t.Run(c.engine+"/"+c.work.name, func(t *testing.T) {
			if e, _ := findEngine(c.engine); e.missing != nil && e.missing() != "" {
				t.Skip(e.missing())
			}
			smoke(t, c.engine, c.work)
		})
	}
}

func smoke(t *testing.T, engineName string, w workload) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	opts := options{engines: []string{engineName}, rounds: 1, warmup: 20 * time.Millisecond, settle: 20 * time.Millisecond, duration: 200 * time.Millisecond,
		reps: 5, serverCPU: unpinned, loadCPU: unpinned}
	r, err := opts.rig(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	samples := runWorkload(ctx, opts, r, w, newProgress(io.Discard))
	if len(samples) != 1 || samples[0].Error != "" {
		t.Fatalf("got samples %+v, want one without error", samples)
	}
	s := samples[0]
	if w.kind != kindIdle && w.kind != kindScale && (s.Ops == 0 || s.Value <= 0) {
		t.Errorf("got %+v, want operations and a value", s)
	}
	if w.kind == kindFanout && (s.CPUPerOp <= 0 || s.P90 <= 0) {
		t.Errorf("got %+v, want CPU per delivery and p90", s)
	}
	if w.kind == kindCap && (s.MaxServed != w.limit || s.Resets != 0) {
		t.Errorf("got at most %d served and %d resets, want %d and 0", s.MaxServed, s.Resets, w.limit)
	}
	var table strings.Builder
	if err := summarize(w, samples).print(&table); err != nil || !strings.Contains(table.String(), engineName) {
		t.Errorf("got table\n%s\nerror %v, want engine %s and no error", table.String(), err, engineName)
	}
}

// Fan-out engines run broadcasts only. Named engines replace the default engines of a workload.
func TestEnginesFor(t *testing.T) {
	names := func(workload string, named ...string) string {
		works, err := selectWorkloads([]string{workload})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range enginesFor(works[0], named) {
			if e.missing == nil { // else the result depends on the machine
				got = append(got, e.name)
			}
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct {
		work  string
		named []string
		want  string
	}{
		{"broadcast-1000", nil, "goranch-group nats goranch-topics write-loop write-loop-raw"},
		{"broadcast-1000", []string{"bare", "nats"}, "nats"},
		{"echo-64-64", []string{"bare", "nats"}, "bare"},
		{"echo-frames-64", nil, "bare goranch-handler"},
		{"echo-frames-64", []string{"gnet"}, "gnet"},
		{"tls-idle", nil, "bare goranch goranch-loop goranch-handler limit"},
		{"http-64", nil, "nethttp goranch-nethttp"},
		{"cap", nil, "goranch goranch-loop goranch-handler limit"},
	} {
		if got := names(c.work, c.named...); got != c.want {
			t.Errorf("enginesFor(%s, %v): got %s, want %s", c.work, c.named, got, c.want)
		}
	}
}

// The plot shows the ratios of a report.
func TestPlot(t *testing.T) {
	w := workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50, bases: []string{"write-loop"}}
	res := summarize(w, []sample{
		{Engine: "write-loop", Round: 1, Value: 5, CPUPerOp: 5},
		{Engine: "goranch-group", Round: 1, Value: 0.05, CPUPerOp: 0.05},
	})
	var svg strings.Builder
	err := plot(&svg, report{Results: []result{res}})
	if err != nil || !strings.Contains(svg.String(), "broadcast-saturated ÷ write-loop") || !strings.Contains(svg.String(), ">0.010<") {
		t.Errorf("got plot\n%s\nerror %v, want the title, 0.010 and no error", svg.String(), err)
	}
}

// The error of a child that exits early contains what it wrote to stderr.
func TestChildExitsEarly(t *testing.T) {
	c, err := startChild("", unpinned, 1, "serve", "--engine", "unknown")
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	var ready serverReady
	err = c.receive(t.Context(), 10*time.Second, &ready)
	if err == nil || !strings.Contains(err.Error(), `no engine "unknown"`) {
		t.Errorf("receive: got error %v, want the one that the child wrote", err)
	}
}

// The CPU clock of a process agrees with getrusage within the process.
func TestProcessCPUAgreesWithGetrusage(t *testing.T) {
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	before, err := ownCPU()
	if err != nil {
		t.Fatal(err)
	}
	clock, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if diff := clock - before; diff < -5*time.Millisecond || diff > 20*time.Millisecond {
		t.Errorf("got %v by the CPU clock, want %v as by getrusage", clock, before)
	}
}
