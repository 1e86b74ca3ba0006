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

// options is the command line of the orchestrator.
type options struct {
	works     []workload
	engines   []string // empty: all that support the workload
	rounds    int
	calm      float64 // CPU share of other processes above which a run is repeated; 0: never
	warmup    time.Duration
	settle    time.Duration
	duration  time.Duration
	reps      int
	serverCPU int
	loadCPU   int
	jsonFile  string
	list      bool
}

const usageHead = `bench runs the same workloads against several TCP servers and prints the CPU time per operation as a
ratio to a plain loop.

  go run .                                  every workload, every engine, 3 rounds
  go run . --work echo,churn --rounds 5     some workloads (echo selects every workload named echo-...)
  go run . --work tls --engines bare,limit  some engines
  go run . --list                           list workloads and engines
  go run . --version                        versions of bench and of the servers that it is built with
  go run . compare REV1 REV2                compare two revisions of this repository
  go run . publish                          measure every claim of docs/benchmarks.md and write its tables and plots
  go run . plot FILE.json > FILE.svg        draw the ratios of a file
  go run . nodes                            one publish to subscribers on one, two and three nodes

Each command has --help.

`

func parseOptions(args []string, out io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	parsed := o.define(fs, out, usageHead+"Flags:\n", "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see --help for commands and flags", fs.Arg(0))
	}
	return o, parsed()
}

// define defines the flags that commands share. The function that it returns must be called after
// fs.Parse.
func (o *options) define(fs *flag.FlagSet, out io.Writer, help, defaultWorks string) (parsed func() error) {
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, help)
		fs.PrintDefaults()
	}
	works := fs.String("work", defaultWorks, "workloads, separated by commas; empty means all")
	named := fs.String("engines", "", "engines, separated by commas; empty means the default ones, see --list")
	conns := fs.Int("conns", 0, "number of connections or members (not for cap); 0 means the workload's default")
	size := fs.Int("size", 0, "bytes of one request; 0 means the workload's default")
	rate := fs.Float64("rate", 0, "open: requests per second; 0 means a share of the highest load of the base engine, measured in each round")
	fs.IntVar(&o.rounds, "rounds", 3, "number of rounds; each runs every engine once")
	fs.Float64Var(&o.calm, "calm", 0, "repeat a run of echo, churn or broadcasts, up to 20 times, if other processes used more than this share of a core during it, for example 0.03; 0 repeats no run")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "length of the measured window of echo, open, churn and broadcasts")
	fs.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "time before the measured window")
	fs.DurationVar(&o.settle, "settle", 4*time.Second, "time before memory is read")
	fs.IntVar(&o.reps, "reps", 300, "cap: number of clients that close per round")
	fs.IntVar(&o.serverCPU, "server-cpu", unpinned, "processor of the server; -1 means the first allowed one")
	fs.IntVar(&o.loadCPU, "load-cpu", unpinned, "processor of the generator; -1 means the second allowed one")
	fs.StringVar(&o.jsonFile, "json", "", "file to which all results are written, including those of each round")
	fs.BoolVar(&o.list, "list", false, "list workloads and engines and exit")
	return func() (selectErr error) {
		o.works, selectErr = selectWorkloads(splitList(*works))
		o.engines = splitList(*named)
		o.resize(*conns, *size, *rate)
		return errors.Join(selectErr, o.validate(*conns, *size, *rate))
	}
}

// resize overrides the numbers of all selected workloads. 0 keeps a number.
func (o *options) resize(conns, size int, rate float64) {
	for i := range o.works {
		w := &o.works[i]
		if conns > 0 && w.kind != kindCap {
			w.conns = conns
		}
		if size > 0 {
			w.size = size
		}
		if rate > 0 && w.kind == kindOpen {
			w.rate = rate
		}
	}
}

func (o *options) validate(conns, size int, rate float64) error {
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
			errs = append(errs, fmt.Errorf("%s %d: allowed are %d to %d", f.name, f.value, f.min, f.max))
		}
	}
	if !(rate >= 0 && rate <= 10_000_000) {
		errs = append(errs, fmt.Errorf("--rate %v: allowed are 0 to 10,000,000", rate))
	}
	if o.duration < 10*time.Millisecond || o.duration > 5*time.Minute {
		errs = append(errs, fmt.Errorf("--duration %v: allowed are 10ms to 5m", o.duration))
	}
	if o.warmup < 0 || o.warmup > time.Minute {
		errs = append(errs, fmt.Errorf("--warmup %v: allowed are 0 to 1m", o.warmup))
	}
	if o.settle < 0 || o.settle > time.Minute {
		errs = append(errs, fmt.Errorf("--settle %v: allowed are 0 to 1m", o.settle))
	}
	return errors.Join(errs...)
}

// rig selects the processors. With only one it writes a warning and pins nothing.
func (o *options) rig(warn io.Writer) (rig, error) {
	r := rig{serverCPU: o.serverCPU, loadCPU: o.loadCPU, warmup: o.warmup, settle: o.settle, duration: o.duration, reps: o.reps}
	cpus, err := allowedCPUs()
	if err != nil {
		return r, err
	}
	if len(cpus) < 2 {
		fmt.Fprintln(warn, "bench: only one processor is allowed, so nothing is pinned: server and generator share it, "+
			"ratios are imprecise and throughput is not valid")
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
		return r, fmt.Errorf("server and generator are both on processor %d: set different --server-cpu and --load-cpu", r.serverCPU)
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
			note = "; by default only for " + strings.Join(w.only, ", ")
		}
		fmt.Fprintf(tw, "  %s\t%s%s\n", w.name, w.about(), note)
	}
	fmt.Fprintln(tw, "Engines")
	for _, e := range engines {
		note := ""
		if e.only != "" {
			note = "; by default only for " + e.only
		}
		if e.fanout != nil {
			note = "; broadcasts only"
		}
		fmt.Fprintf(tw, "  %s\t%s%s\n", e.name, e.about, note)
	}
	tw.Flush()
}
