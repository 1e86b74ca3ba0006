package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"goranch/internal/loadgen"
)

// sample is the measurement of one engine under one workload in one round. Fields that the workload
// does not measure are zero.
type sample struct {
	Workload    string  `json:"workload"`
	Engine      string  `json:"engine"`
	Round       int     `json:"round"`
	Error       string  `json:"error,omitempty"`
	Value       float64 `json:"value"` // the workload's metric, which ratios compare
	Ops         int64   `json:"ops,omitempty"`
	OpsPerSec   float64 `json:"ops_per_second,omitempty"`
	ServerCore  float64 `json:"server_core_share,omitempty"` // CPU time of the server over wall time
	LoadCore    float64 `json:"generator_core_share,omitempty"`
	Others      float64 `json:"others_cores,omitempty"` // CPU time of all other processes over wall time
	Repeats     int     `json:"repeats,omitempty"`      // runs before this one that others disturbed, see --calm
	P90         float64 `json:"p90_us,omitempty"`
	MaxServed   int     `json:"max_served,omitempty"`
	Resets      int     `json:"resets"`
	CPUPerOp    float64 `json:"cpu_us_per_delivery,omitempty"` // fanout
	MemberBytes float64 `json:"bytes_per_member,omitempty"`    // fanout: growth of resident memory
	// More are the figures of the columns of the workload, by name.
	More         map[string]float64 `json:"more,omitempty"`
	ServerBefore *procStat          `json:"server_before,omitempty"`
	ServerAfter  *procStat          `json:"server_after,omitempty"`
}

// rig holds the processors and the times of a measurement.
type rig struct {
	serverCPU, loadCPU int
	warmup, duration   time.Duration
	settle             time.Duration // before memory is read
	reps               int           // closes at the cap
}

// measure runs one engine under one workload. Server and generator are new processes.
func (r rig) measure(ctx context.Context, w workload, e engine) (sample, error) {
	s := sample{Workload: w.name, Engine: e.name}
	if w.kind == kindScale {
		return r.measureScale(ctx, w, e, s)
	}
	upstream, err := r.startUpstream(ctx, w)
	if err != nil {
		return s, err
	}
	defer upstream.stop()
	server, ready, err := r.startServer(ctx, w, e, r.serverCPU, upstream.addr)
	if err != nil {
		return s, err
	}
	defer server.stop()
	load, err := r.startLoad(w, e, ready.Addr, ready.PID)
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
	case kindOpen:
		err = r.measureOpen(ctx, w, load, &s)
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

// upstream is the echo server behind a relay. Its zero value is none.
type upstream struct {
	*child
	addr string
}

func (u upstream) stop() {
	if u.child != nil {
		u.child.stop()
	}
}

// startUpstream starts the echo server behind a relay, on the processor of the generator.
func (r rig) startUpstream(ctx context.Context, w workload) (u upstream, err error) {
	if !w.relay {
		return u, nil
	}
	e, err := findEngine("bare32k")
	if err != nil {
		return u, err
	}
	server, ready, err := r.startServer(ctx, workload{}, e, r.loadCPU, "")
	return upstream{server, ready.Addr}, err
}

func (r rig) startServer(ctx context.Context, w workload, e engine, cpu int, upstream string) (server *child, ready serverReady, err error) {
	args := []string{"--engine", e.name, "--limit", strconv.Itoa(w.limit), "--upstream", upstream}
	if w.tls {
		args = append(args, "--tls")
	}
	if w.lines {
		args = append(args, "--lines")
	}
	if w.frames {
		args = append(args, "--frames")
	}
	server, err = startChild(e.exe, cpu, 1, "serve", args...)
	if err != nil {
		return nil, ready, err
	}
	if err := server.receive(ctx, 10*time.Second, &ready); err != nil {
		server.stop()
		return nil, ready, err
	}
	return server, ready, nil
}

func (r rig) startLoad(w workload, e engine, addr string, serverPID int) (*child, error) {
	args := []string{
		"--work", string(w.kind), "--addr", addr, "--server-pid", strconv.Itoa(serverPID),
		"--conns", strconv.Itoa(w.conns), "--size", strconv.Itoa(w.size),
		"--warmup", r.warmup.String(), "--duration", r.duration.String(),
		"--limit", strconv.Itoa(w.limit), "--reps", strconv.Itoa(r.reps),
		"--engine", e.name, "--burst", strconv.Itoa(max(w.burst, 1)),
		"--rate", strconv.FormatFloat(w.rate, 'f', 3, 64),
	}
	if w.lines {
		args = append(args, "--lines")
	}
	if w.frames {
		args = append(args, "--frames")
	}
	if w.web {
		args = append(args, "--web")
	}
	// The epoll loop occupies one Go processor, so other goroutines need a second one.
	procs := 2
	if w.tls {
		args = append(args, "--tls")
		procs = 1
	}
	return startChild("", r.loadCPU, procs, "load", args...)
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

// cpuPerOp returns the server's CPU time per operation in microseconds.
func (win windowResult) cpuPerOp() float64 { return float64(win.ServerCPUNs) / 1e3 / float64(win.Ops) }

// window sets the fields that every window measures.
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

// memoryPerConn returns how much the server's resident memory grows per connection that the
// generator opens.
func (r rig) memoryPerConn(ctx context.Context, w workload, server, load *child, s *sample) (float64, error) {
	if err := awaitPhase(ctx, load, "warm"); err != nil {
		return 0, err
	}
	s.ServerBefore, s.ServerAfter = new(procStat), new(procStat)
	if err := r.settledStat(ctx, server, s.ServerBefore); err != nil {
		return 0, err
	}
	if err := load.send("go"); err != nil {
		return 0, err
	}
	if err := awaitPhase(ctx, load, "open"); err != nil {
		return 0, err
	}
	if err := r.settledStat(ctx, server, s.ServerAfter); err != nil {
		return 0, err
	}
	if err := load.send("go"); err != nil {
		return 0, err
	}
	return float64(s.ServerAfter.RSSBytes-s.ServerBefore.RSSBytes) / float64(w.conns), nil
}

// settledStat reads the server's memory after a garbage collection. Before that it waits until the
// server has handled what its peers did.
func (r rig) settledStat(ctx context.Context, server *child, st *procStat) error {
	select {
	case <-time.After(r.settle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return server.ask(ctx, "gc", st)
}

// awaitPhase waits until the generator reports a phase.
func awaitPhase(ctx context.Context, load *child, name string) error {
	var p phase
	if err := load.receive(ctx, time.Minute, &p); err != nil {
		return err
	}
	if p.Phase != name {
		return fmt.Errorf("the generator is at phase %q, want %q", p.Phase, name)
	}
	return nil
}

func measureCap(ctx context.Context, load *child, s *sample) error {
	var seen capResult
	if err := load.receive(ctx, 2*time.Minute, &seen); err != nil {
		return err
	}
	s.Ops = int64(len(seen.WaitsNs))
	s.Value, s.P90 = waitPercentiles(seen.WaitsNs)
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
	s.Value, s.P90 = waitPercentiles(seen.WaitsNs)
	if w.burst > 1 {
		s.Value = s.CPUPerOp
	}
	return nil
}

// waitPercentiles returns two percentiles in microseconds. It sorts waits.
func waitPercentiles(waits []int64) (p50, p90 float64) {
	slices.Sort(waits)
	return float64(loadgen.Percentile(waits, 0.5)) / 1e3, float64(loadgen.Percentile(waits, 0.9)) / 1e3
}
