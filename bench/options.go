package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// options is what the orchestrator was asked for.
type options struct {
	works     []workload
	engines   []string // empty: all that fit
	rounds    int
	calm      float64 // others' share of a core above which a run is repeated; 0: never
	warmup    time.Duration
	settle    time.Duration
	duration  time.Duration
	reps      int
	serverCPU int
	loadCPU   int
	jsonFile  string
	list      bool
}

const usageHead = `bench puts the same work to several TCP servers and prints CPU per operation as ratios to the plain loop.

  go run .                                  every workload, every engine, 3 rounds
  go run . --work echo,churn --rounds 5     only these (a first part of a name takes all that begin with it)
  go run . --work tls --engines bare,limit  only these engines
  go run . --list                           the workloads and engines there are

`

func parseOptions(args []string, out io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, usageHead+"Flags:\n")
		fs.PrintDefaults()
	}
	works := fs.String("work", "", "workloads, separated by commas; empty is all")
	named := fs.String("engines", "", "engines, separated by commas; empty is all that fit the workload")
	conns := fs.Int("conns", 0, "connections or members, instead of the workload's own number (not for cap); 0 keeps it")
	size := fs.Int("size", 0, "bytes of one request, instead of the workload's own number; 0 keeps it")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds, each with every engine once")
	fs.Float64Var(&o.calm, "calm", 0, "repeat a run of echo, churn or broadcasts, up to 20 times, during which other processes took more than this share of a core, such as 0.03; 0 keeps every run")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "measured window of echo, churn and broadcasts")
	fs.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "time before the window")
	fs.DurationVar(&o.settle, "settle", 4*time.Second, "time for idle memory to settle")
	fs.IntVar(&o.reps, "reps", 300, "cap: how often a client leaves per round")
	fs.IntVar(&o.serverCPU, "server-cpu", unpinned, "processor of the server; -1 is the first allowed")
	fs.IntVar(&o.loadCPU, "load-cpu", unpinned, "processor of the generator; -1 is the second allowed")
	fs.StringVar(&o.jsonFile, "json", "", "also write everything, raw rounds included, to this file")
	fs.BoolVar(&o.list, "list", false, "list workloads and engines and end")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	var selectErr, extra error
	if fs.NArg() > 0 {
		extra = fmt.Errorf("unexpected %q: everything is a flag, see --help", fs.Arg(0))
	}
	o.works, selectErr = selectWorkloads(splitList(*works))
	o.engines = splitList(*named)
	o.resize(*conns, *size)
	return o, errors.Join(extra, selectErr, o.validate(*conns, *size))
}

// resize gives all selected workloads other numbers than their own.
func (o *options) resize(conns, size int) {
	for i := range o.works {
		w := &o.works[i]
		if conns > 0 && w.kind != kindCap {
			w.conns = conns
		}
		if size > 0 {
			w.size = size
		}
	}
}

func (o *options) validate(conns, size int) error {
	var errs []error
	for _, n := range o.engines {
		if _, err := findEngine(n); err != nil {
			errs = append(errs, err)
		}
	}
	for _, f := range []struct {
		name     string
		value    int
		min, max int
	}{
		{"--rounds", o.rounds, 1, 1000},
		{"--conns", conns, 0, 1_000_000},
		{"--size", size, 0, 16 << 20},
		{"--reps", o.reps, 1, 10_000},
		{"--server-cpu", o.serverCPU, unpinned, 1023},
		{"--load-cpu", o.loadCPU, unpinned, 1023},
	} {
		if f.value < f.min || f.value > f.max {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", f.name, f.value, f.min, f.max))
		}
	}
	if o.duration < 10*time.Millisecond || o.duration > 5*time.Minute {
		errs = append(errs, fmt.Errorf("--duration %v: want 10ms to 5m", o.duration))
	}
	if o.warmup < 0 || o.warmup > time.Minute {
		errs = append(errs, fmt.Errorf("--warmup %v: want 0 to 1m", o.warmup))
	}
	if o.settle < 0 || o.settle > time.Minute {
		errs = append(errs, fmt.Errorf("--settle %v: want 0 to 1m", o.settle))
	}
	return errors.Join(errs...)
}

// rig chooses the processors and says so when there are not two of them.
func (o *options) rig(warn io.Writer) (rig, error) {
	r := rig{serverCPU: o.serverCPU, loadCPU: o.loadCPU, warmup: o.warmup, settle: o.settle, duration: o.duration, reps: o.reps}
	cpus, err := allowedCPUs()
	if err != nil {
		return r, err
	}
	if len(cpus) < 2 {
		fmt.Fprintln(warn, "bench: only one processor is allowed here, so nothing is pinned: server and generator take "+
			"turns on it, ratios are rough and throughput means little")
		r.serverCPU, r.loadCPU = unpinned, unpinned
		return r, nil
	}
	if r.serverCPU == unpinned {
		r.serverCPU = cpus[0]
	}
	if r.loadCPU == unpinned {
		r.loadCPU = cpus[1]
	}
	if r.serverCPU == r.loadCPU {
		return r, fmt.Errorf("server and generator are both on processor %d: give them different --server-cpu and --load-cpu", r.serverCPU)
	}
	return r, nil
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func printList(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "Workloads")
	for _, w := range workloads {
		note := ""
		if w.only != nil {
			note = "; unless others are named, only for " + strings.Join(w.only, ", ")
		}
		fmt.Fprintf(tw, "  %s\t%s%s\n", w.name, w.about(), note)
	}
	fmt.Fprintln(tw, "Engines")
	for _, e := range engines {
		note := ""
		if e.only != "" {
			note = "; unless named, only for " + e.only
		}
		if e.fanout != nil {
			note = "; broadcasts only"
		}
		fmt.Fprintf(tw, "  %s\t%s%s\n", e.name, e.about, note)
	}
	tw.Flush()
}
