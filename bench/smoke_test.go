package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the children too: the orchestrator starts its own executable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "load") {
		os.Exit(dispatch(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestSmoke runs every kind of work through the orchestrator, small and short.
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
		{"write-loop", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"write-loop", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50}},
		{"write-loop-raw", workload{name: "broadcast", kind: kindFanout, conns: 50, size: 64, burst: 1}},
		{"write-loop-raw", workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50}},
	} {
		t.Run(c.engine+"/"+c.work.name, func(t *testing.T) { smoke(t, c.engine, c.work) })
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
	samples := runWorkload(ctx, opts, r, w, io.Discard)
	if len(samples) != 1 || samples[0].Error != "" {
		t.Fatalf("samples %+v, want one without error", samples)
	}
	s := samples[0]
	if w.kind != kindIdle && (s.Ops == 0 || s.Value <= 0) {
		t.Errorf("nothing was measured: %+v", s)
	}
	if w.kind == kindFanout && (s.CPUPerOp <= 0 || s.P90 <= 0) {
		t.Errorf("a broadcast without CPU per delivery or time: %+v", s)
	}
	if w.kind == kindCap && (s.MaxServed != w.limit || s.Resets != 0) {
		t.Errorf("served at most %d with %d resets, want %d and none", s.MaxServed, s.Resets, w.limit)
	}
	var table strings.Builder
	if err := summarise(w, samples).print(&table); err != nil || !strings.Contains(table.String(), engineName) {
		t.Errorf("table (error %v):\n%s", err, table.String())
	}
}

// Fan-out engines get broadcasts and nothing else, a workload's own engines give way to those that are named.
func TestEnginesFor(t *testing.T) {
	names := func(workload string, named ...string) string {
		works, err := selectWorkloads([]string{workload})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range enginesFor(works[0], named) {
			got = append(got, e.name)
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct {
		work  string
		named []string
		want  string
	}{
		{"broadcast-1000", nil, "goranch-group nats write-loop write-loop-raw"},
		{"broadcast-1000", []string{"bare", "nats"}, "nats"},
		{"echo-64-64", []string{"bare", "nats"}, "bare"},
		{"echo-frames-64", nil, "bare goranch-handler"},
		{"echo-frames-64", []string{"gnet"}, "gnet"},
		{"tls-idle", nil, "bare goranch goranch-loop goranch-handler limit"},
		{"cap", nil, "goranch goranch-loop goranch-handler limit"},
	} {
		if got := names(c.work, c.named...); got != c.want {
			t.Errorf("engines %v of %s: %s; want %s", c.named, c.work, got, c.want)
		}
	}
}

// The plot takes what the JSON file holds.
func TestPlot(t *testing.T) {
	w := workload{name: "broadcast-saturated", kind: kindFanout, conns: 20, size: 64, burst: 50, bases: []string{"write-loop"}}
	res := summarise(w, []sample{
		{Engine: "write-loop", Round: 1, Value: 5, CPUPerOp: 5},
		{Engine: "goranch-group", Round: 1, Value: 0.05, CPUPerOp: 0.05},
	})
	var svg strings.Builder
	err := plot(&svg, report{Results: []result{res}})
	if err != nil || !strings.Contains(svg.String(), "broadcast-saturated ÷ write-loop") || !strings.Contains(svg.String(), ">0.010<") {
		t.Errorf("plot (error %v):\n%s", err, svg.String())
	}
}

// A child that cannot start tells why.
func TestChildExplainsItsEnd(t *testing.T) {
	c, err := startChild(unpinned, 1, "serve", "--engine", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	var ready serverReady
	err = c.receive(t.Context(), 10*time.Second, &ready)
	if err == nil || !strings.Contains(err.Error(), `no engine "nobody"`) {
		t.Errorf("receive = %v, want the reason that the child wrote", err)
	}
}

// The CPU clock that is read from outside must agree with what a process says about itself.
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
		t.Errorf("the CPU clock says %v, getrusage %v", clock, before)
	}
}
