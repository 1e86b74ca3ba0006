package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const publishHelp = `bench publish measures every claim of docs/benchmarks.md and writes its table, its plot and its raw results.
It needs a quiet machine with two cores, and about 70 minutes.

  go run . publish                         all claims
  go run . publish --claims echo,latency   some; the others keep their results
  go run . publish --render                no measurement: only tables and plots from the files of results
  go run . publish --quick                 a minimal run of everything into a temporary directory

Flags:
`

// publishOptions is the command line of publish.
type publishOptions struct {
	claims  []claim
	docs    string // the page with the tables
	results string // directory of the raw results
	render  bool
	quick   bool
	calm    float64
	rounds  int // 0: those of the claim
}

func publishMain(args []string) error {
	o, err := parsePublish(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.quick {
		if err := o.toTemporary(); err != nil {
			return err
		}
	}
	if _, _, _, err := splitDocs(o.docs); err != nil { // before an hour of measurements
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var failed []error
	if !o.render {
		for i, c := range o.claims {
			fmt.Fprintf(os.Stderr, "\nclaim %d of %d: %s\n", i+1, len(o.claims), c.name)
			if err := o.measure(ctx, c); err != nil {
				failed = append(failed, fmt.Errorf("claim %s: %w", c.name, err))
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(append(failed, o.write())...)
}

func parsePublish(args []string, out io.Writer) (o publishOptions, err error) {
	fs := flag.NewFlagSet("bench publish", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, publishHelp)
		fs.PrintDefaults()
	}
	named := fs.String("claims", "", "claims, separated by commas; empty means all: "+strings.Join(claimNames(), ", "))
	fs.StringVar(&o.docs, "docs", "../docs/benchmarks.md", "the page with the tables; plots are written to a directory beside it that has its name without .md")
	fs.StringVar(&o.results, "results", "results", "directory of the raw results")
	fs.BoolVar(&o.render, "render", false, "measure nothing")
	fs.BoolVar(&o.quick, "quick", false, "one round with short windows, into a temporary directory: shows that everything runs; the figures are worthless")
	fs.IntVar(&o.rounds, "rounds", 0, "number of rounds; 0 means those of each claim")
	fs.Float64Var(&o.calm, "calm", 0, "see bench --help")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see --help for the flags", fs.Arg(0))
	}
	if o.rounds < 0 || o.rounds > 1000 {
		return o, fmt.Errorf("--rounds %d: allowed are 0 to 1000", o.rounds)
	}
	o.claims, err = selectClaims(splitList(*named))
	return o, err
}

// toTemporary makes o write to a temporary directory with a copy of the page.
func (o *publishOptions) toTemporary() error {
	dir, err := os.MkdirTemp("", "bench-publish-*")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(o.docs)
	if err != nil {
		return err
	}
	o.docs, o.results = filepath.Join(dir, filepath.Base(o.docs)), dir
	fmt.Fprintf(os.Stderr, "writing to %s\n", dir)
	return os.WriteFile(o.docs, text, 0o644)
}

func (o publishOptions) resultFile(c claim) string { return filepath.Join(o.results, c.name+".json") }

// flags returns the command line that measures a claim.
func (o publishOptions) flags(c claim) []string {
	if o.quick {
		c.rounds, c.duration, c.warmup, c.settle = 1, 300*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	}
	if o.rounds > 0 {
		c.rounds = o.rounds
	}
	args := c.args()
	if o.calm > 0 {
		args = append(args, "--calm", fmt.Sprint(o.calm))
	}
	if o.quick {
		args = append(args, "--reps", "5")
	}
	return append(args, "--json", o.resultFile(c))
}

func (o publishOptions) measure(ctx context.Context, c claim) error {
	args := o.flags(c)
	opts, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.quick {
		for i := range opts.works {
			w := &opts.works[i]
			w.conns, w.each = min(w.conns, 300), 100
		}
	}
	if err := checkFileLimit(opts.works); err != nil {
		return err
	}
	r, err := opts.rig(os.Stderr)
	if err != nil {
		return err
	}
	return runAll(ctx, opts, r, newReport(args, opts, r), os.Stdout, os.Stderr)
}
