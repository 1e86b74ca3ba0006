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
	} {
		t.Run(c.work.name, func(t *testing.T) { smoke(t, c.engine, c.work) })
	}
}

func smoke(t *testing.T, engineName string, w workload) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	opts := options{engines: []string{engineName}, rounds: 1, warmup: 20 * time.Millisecond, duration: 200 * time.Millisecond,
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
	if w.kind == kindCap && (s.MaxServed != w.limit || s.Resets != 0) {
		t.Errorf("served at most %d with %d resets, want %d and none", s.MaxServed, s.Resets, w.limit)
	}
	var table strings.Builder
	if err := summarise(w, samples).print(&table); err != nil || !strings.Contains(table.String(), engineName) {
		t.Errorf("table (error %v):\n%s", err, table.String())
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
