package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// fleet are several servers and the generators of their clients, one for each: a process may open
// fewer files than the workload has connections.
type fleet struct {
	servers, loads []*child
	pids           []int
}

func (f *fleet) stop() {
	for _, c := range append(f.loads, f.servers...) {
		c.stop()
	}
}

// startFleet distributes the connections of the workload evenly.
func (r rig) startFleet(ctx context.Context, w workload, e engine) (*fleet, error) {
	f := new(fleet)
	n := w.processes()
	for i := range n {
		part := workload{kind: kindIdle, conns: w.conns*(i+1)/n - w.conns*i/n, size: w.size}
		server, ready, err := r.startServer(ctx, part, e, r.serverCPU, "")
		if err != nil {
			return f, err
		}
		f.servers, f.pids = append(f.servers, server), append(f.pids, ready.PID)
		load, err := r.startLoad(part, e, ready.Addr, ready.PID)
		if err != nil {
			return f, err
		}
		f.loads = append(f.loads, load)
	}
	return f, nil
}

// proceed lets all generators continue and waits until they have reached a phase.
func (f *fleet) proceed(ctx context.Context, name string) error {
	for _, load := range f.loads {
		if err := load.send("go"); err != nil {
			return err
		}
	}
	return f.await(ctx, name)
}

func (f *fleet) await(ctx context.Context, name string) error {
	for i, load := range f.loads {
		if err := awaitPhase(ctx, load, name); err != nil {
			return fmt.Errorf("generator %d of %d: %w", i+1, len(f.loads), err)
		}
	}
	return nil
}

// usage is what all servers together use.
type usage struct {
	at       time.Time
	cpu      time.Duration
	resident int64
	kernel   int64 // of the whole machine
}

func (f *fleet) usage() (u usage, err error) {
	u.at = time.Now()
	for _, pid := range f.pids {
		cpu, err := processCPU(pid)
		if err != nil {
			return u, err
		}
		rss, err := residentOf(pid)
		if err != nil {
			return u, err
		}
		u.cpu += cpu
		u.resident += rss
	}
	u.kernel, err = kernelMemory()
	return u, err
}

// settled returns the usage after a garbage collection of all servers.
func (r rig) settled(ctx context.Context, f *fleet) (usage, error) {
	select {
	case <-time.After(r.settle):
	case <-ctx.Done():
		return usage{}, context.Cause(ctx)
	}
	for _, server := range f.servers {
		var st procStat
		if err := server.ask(ctx, "gc", &st); err != nil {
			return usage{}, err
		}
	}
	return f.usage()
}

// measureScale opens the connections, leaves them idle and has each echo again.
func (r rig) measureScale(ctx context.Context, w workload, e engine, s sample) (sample, error) {
	f, err := r.startFleet(ctx, w, e)
	defer f.stop()
	if err != nil {
		return s, err
	}
	if err := f.await(ctx, "warm"); err != nil {
		return s, err
	}
	start, err := r.settled(ctx, f)
	if err != nil {
		return s, err
	}
	start.at = time.Now() // the generators connect from here on
	if err := f.proceed(ctx, "open"); err != nil {
		return s, err
	}
	open, err := f.usage()
	if err != nil {
		return s, err
	}
	idle, err := r.settled(ctx, f)
	if err != nil {
		return s, err
	}
	quiet, err := r.idleCPU(ctx, f)
	if err != nil {
		return s, err
	}
	before, err := f.usage()
	if err != nil {
		return s, err
	}
	if err := f.proceed(ctx, "alive"); err != nil {
		return s, err
	}
	after, err := f.usage()
	if err != nil {
		return s, err
	}
	n := float64(w.conns)
	s.Ops = int64(w.conns)
	s.Value = float64(idle.resident-start.resident) / n
	s.More = map[string]float64{
		keyProcesses: float64(len(f.servers)),
		keyKernel:    float64(idle.kernel-start.kernel) / n,
		keyOpenCPU:   float64((open.cpu - start.cpu).Nanoseconds()) / 1e3 / n,
		keyOpenTime:  open.at.Sub(start.at).Seconds(),
		keyIdleCPU:   quiet / n,
		keyEchoCPU:   float64((after.cpu - before.cpu).Nanoseconds()) / 1e3 / n,
		keyEchoTime:  after.at.Sub(before.at).Seconds(),
	}
	s.ServerAfter = &procStat{CPUNs: int64(after.cpu), RSSBytes: after.resident}
	return s, nil
}

// idleCPU returns the CPU time of the servers in microseconds per second while nothing is sent.
func (r rig) idleCPU(ctx context.Context, f *fleet) (float64, error) {
	from, err := f.usage()
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(max(r.settle, 10*time.Millisecond)):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	to, err := f.usage()
	return float64((to.cpu - from.cpu).Nanoseconds()) / 1e3 / to.at.Sub(from.at).Seconds(), err
}

// kernelMemory returns the bytes of the kernel's slab caches, which hold the sockets.
func kernelMemory() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if rest, found := strings.CutPrefix(line, "Slab:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no Slab line")
}
