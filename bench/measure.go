package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// sample is one engine under one workload in one round. Fields that the workload does not measure stay zero.
type sample struct {
	Workload     string    `json:"workload"`
	Engine       string    `json:"engine"`
	Round        int       `json:"round"`
	Error        string    `json:"error,omitempty"`
	Value        float64   `json:"value"` // what ratios compare: the workload's metric
	Ops          int64     `json:"ops,omitempty"`
	OpsPerSec    float64   `json:"ops_per_second,omitempty"`
	ServerCore   float64   `json:"server_core_share,omitempty"` // CPU time of the server over wall time
	LoadCore     float64   `json:"generator_core_share,omitempty"`
	Others       float64   `json:"others_cores,omitempty"` // cores' worth of CPU that everything else took meanwhile
	Repeats      int       `json:"repeats,omitempty"`      // runs before this one that were not calm
	P90          float64   `json:"p90_us,omitempty"`
	MaxServed    int       `json:"max_served,omitempty"`
	Resets       int       `json:"resets"`
	CPUPerOp     float64   `json:"cpu_us_per_delivery,omitempty"` // fanout
	MemberBytes  float64   `json:"bytes_per_member,omitempty"`    // fanout: growth of resident memory
	ServerBefore *procStat `json:"server_before,omitempty"`
	ServerAfter  *procStat `json:"server_after,omitempty"`
}

// rig is where and how long things are measured.
type rig struct {
	serverCPU, loadCPU int
	warmup, duration   time.Duration
	settle             time.Duration // before idle memory is counted
	reps               int           // ends at the cap
}

// measure runs one engine under one workload, each in a fresh process.
func (r rig) measure(ctx context.Context, w workload, e engine) (sample, error) {
	s := sample{Workload: w.name, Engine: e.name}
	server, addr, err := r.startServer(ctx, w, e)
	if err != nil {
		return s, err
	}
	defer server.stop()
	load, err := r.startLoad(w, e, addr, server.pid())
	if err != nil {
		return s, err
	}
	defer load.stop()
	switch w.kind {
	case kindIdle:
		err = r.measureIdle(ctx, w, server, load, &s)
	case kindCap:
		err = measureCap(ctx, load, &s)
	case kindFanout:
		err = r.measureFanout(ctx, w, server, load, &s)
	default:
		err = r.measureWindow(ctx, load, &s)
	}
	if err != nil {
		return s, err
	}
	if s.ServerAfter == nil {
		s.ServerAfter = new(procStat)
		err = server.ask(ctx, "stat", s.ServerAfter)
	}
	return s, err
}

func (r rig) startServer(ctx context.Context, w workload, e engine) (server *child, addr string, err error) {
	args := []string{"--engine", e.name, "--limit", strconv.Itoa(w.limit)}
	if w.tls {
		args = append(args, "--tls")
	}
	if w.lines {
		args = append(args, "--lines")
	}
	if w.frames {
		args = append(args, "--frames")
	}
	server, err = startChild(r.serverCPU, 1, "serve", args...)
	if err != nil {
		return nil, "", err
	}
	var ready serverReady
	if err := server.receive(ctx, 10*time.Second, &ready); err != nil {
		server.stop()
		return nil, "", err
	}
	return server, ready.Addr, nil
}

func (r rig) startLoad(w workload, e engine, addr string, serverPID int) (*child, error) {
	args := []string{
		"--work", string(w.kind), "--addr", addr, "--server-pid", strconv.Itoa(serverPID),
		"--conns", strconv.Itoa(w.conns), "--size", strconv.Itoa(w.size),
		"--warmup", r.warmup.String(), "--duration", r.duration.String(),
		"--limit", strconv.Itoa(w.limit), "--reps", strconv.Itoa(r.reps),
		"--engine", e.name, "--burst", strconv.Itoa(max(w.burst, 1)),
	}
	if w.lines {
		args = append(args, "--lines")
	}
	if w.frames {
		args = append(args, "--frames")
	}
	// The epoll thread keeps one Go processor to itself, a second one lets the rest of the process live.
	procs := 2
	if w.tls {
		args = append(args, "--tls")
		procs = 1
	}
	return startChild(r.loadCPU, procs, "load", args...)
}

func (r rig) measureWindow(ctx context.Context, load *child, s *sample) error {
	var win windowResult
	if err := load.receive(ctx, r.warmup+r.duration+time.Minute, &win); err != nil {
		return err
	}
	s.window(win)
	s.Value = win.cpuPerOp()
	return nil
}

// cpuPerOp is in microseconds.
func (win windowResult) cpuPerOp() float64 { return float64(win.ServerCPUNs) / 1e3 / float64(win.Ops) }

func (s *sample) window(win windowResult) {
	wall := float64(win.WallNs)
	s.Ops = win.Ops
	s.OpsPerSec = float64(win.Ops) / (wall / 1e9)
	s.ServerCore = float64(win.ServerCPUNs) / wall
	s.LoadCore = float64(win.LoadCPUNs) / wall
	s.Others = float64(win.OthersCPUNs) / wall
}

func (r rig) measureIdle(ctx context.Context, w workload, server, load *child, s *sample) (err error) {
	if s.Value, err = r.memoryPerConn(ctx, w, server, load, s); err != nil {
		return err
	}
	return awaitPhase(ctx, load, "alive")
}

// memoryPerConn lets the generator open its connections and returns by how much each has made the server grow.
func (r rig) memoryPerConn(ctx context.Context, w workload, server, load *child, s *sample) (float64, error) {
	if err := awaitPhase(ctx, load, "warm"); err != nil {
		return 0, err
	}
	s.ServerBefore, s.ServerAfter = new(procStat), new(procStat)
	if err := r.settledStat(ctx, server, s.ServerBefore); err != nil {
		return 0, err
	}
	if err := load.tell("go"); err != nil {
		return 0, err
	}
	if err := awaitPhase(ctx, load, "open"); err != nil {
		return 0, err
	}
	if err := r.settledStat(ctx, server, s.ServerAfter); err != nil {
		return 0, err
	}
	if err := load.tell("go"); err != nil {
		return 0, err
	}
	return float64(s.ServerAfter.RSSBytes-s.ServerBefore.RSSBytes) / float64(w.conns), nil
}

// settledStat gives the server time to see what its peers did, and to come to rest, then counts what is left after a collection.
func (r rig) settledStat(ctx context.Context, server *child, st *procStat) error {
	select {
	case <-time.After(r.settle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return server.ask(ctx, "gc", st)
}

func awaitPhase(ctx context.Context, load *child, name string) error {
	var p phase
	if err := load.receive(ctx, time.Minute, &p); err != nil {
		return err
	}
	if p.Phase != name {
		return fmt.Errorf("generator is at %q, want %q", p.Phase, name)
	}
	return nil
}

func measureCap(ctx context.Context, load *child, s *sample) error {
	var seen capResult
	if err := load.receive(ctx, 2*time.Minute, &seen); err != nil {
		return err
	}
	s.Ops = int64(len(seen.WaitsNs))
	s.Value = float64(percentile(seen.WaitsNs, 0.5)) / 1e3
	s.P90 = float64(percentile(seen.WaitsNs, 0.9)) / 1e3
	s.MaxServed, s.Resets = seen.MaxServed, seen.Resets
	return nil
}

func (r rig) measureFanout(ctx context.Context, w workload, server, load *child, s *sample) (err error) {
	if s.MemberBytes, err = r.memoryPerConn(ctx, w, server, load, s); err != nil {
		return err
	}
	var seen fanoutResult
	if err := load.receive(ctx, r.warmup+r.duration+2*time.Minute, &seen); err != nil {
		return err
	}
	s.window(seen.windowResult)
	s.CPUPerOp = seen.cpuPerOp()
	s.Value = s.CPUPerOp
	if w.burst == 1 {
		s.Value = float64(percentile(seen.WaitsNs, 0.5)) / 1e3
	}
	s.P90 = float64(percentile(seen.WaitsNs, 0.9)) / 1e3
	return nil
}
