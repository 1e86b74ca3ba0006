package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
)

const compareHelp = `bench compare REV1 REV2 [flags] builds bench at two revisions of the repository and compares the cost of
their engines. "." is the work tree as it is.

Each round measures REV1, REV2 and REV1 once more. The two measurements of REV1 show the noise of the run. A
workload is slower if the 95 % confidence interval of REV2 ÷ REV1 is above 1, and the ratio is above the
noise and the tolerance. Then the exit code is 1. Errors exit with 2.

  go run . compare HEAD~1 HEAD
  go run . compare v1.0.0 . --work echo-64-64,churn --engines goranch-handler --rounds 15

Flags:
`

// errSlower is the result of a comparison in which REV2 was slower.
var errSlower = errors.New("slower")

// compareOptions is the command line of compare.
type compareOptions struct {
	options
	revisions []string
	tolerance float64
}

// compareMain compares two revisions.
func compareMain(args []string) error {
	o, err := parseCompare(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.list {
		printList(os.Stdout)
		return nil
	}
	if err := checkFileLimit(o.works); err != nil {
		return err
	}
	r, err := o.rig(os.Stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := newProgress(os.Stderr)
	b, err := newBuilder(ctx, ".", p)
	if err != nil {
		return err
	}
	defer b.remove()
	var exes [2]string
	for i, rev := range o.revisions {
		if exes[i], err = b.build(ctx, rev); err != nil {
			return err
		}
	}
	rep := newReport(append([]string{"compare"}, args...), o.options, r)
	if err := compareAll(ctx, o, r, exes, rep, p); err != nil {
		return err
	}
	printComparisons(os.Stdout, o, rep.Comparisons)
	if o.jsonFile != "" {
		if err := rep.write(o.jsonFile); err != nil {
			return err
		}
	}
	for _, c := range rep.Comparisons {
		if c.Verdict == slower {
			return errSlower
		}
	}
	return nil
}

// compareDefaults are the workloads and engines that compare runs if none are named.
var (
	compareWorks   = "echo-64-64,echo-64-1000,churn"
	compareEngines = []string{"goranch", "goranch-handler"}
)

func parseCompare(args []string, out io.Writer) (o compareOptions, err error) {
	fs := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	parsed := o.define(fs, out, compareHelp, compareWorks)
	fs.Lookup("rounds").DefValue = "10"
	o.rounds = 10
	fs.Float64Var(&o.tolerance, "tolerance", 0.01, "share by which REV2 may be slower in any case; 0.01 is one percent, because the place of code in the executable alone changes that much")
	rest := args
	for {
		if err := fs.Parse(rest); err != nil {
			return o, err
		}
		if fs.NArg() == 0 {
			break
		}
		o.revisions = append(o.revisions, fs.Arg(0)) // flags may follow
		rest = fs.Args()[1:]
	}
	if err := parsed(); err != nil {
		return o, err
	}
	if len(o.engines) == 0 {
		o.engines = compareEngines
	}
	switch {
	case len(o.revisions) != 2:
		return o, fmt.Errorf("got revisions %q, want two: bench compare REV1 REV2, see --help", o.revisions)
	case o.rounds < minRounds:
		return o, fmt.Errorf("--rounds %d: allowed are %d or more: fewer have no confidence interval", o.rounds, minRounds)
	case o.tolerance < 0 || o.tolerance > 1:
		return o, fmt.Errorf("--tolerance %v: allowed are 0 to 1", o.tolerance)
	}
	return o, nil
}

// pair is one workload and engine.
type pair struct {
	work   workload
	engine engine
}

func (o compareOptions) pairs(skip func(why string)) (all []pair) {
	for _, w := range o.works {
		ready, skipped := installed(enginesFor(w, o.engines))
		for _, why := range skipped {
			skip(why)
		}
		for _, e := range ready {
			all = append(all, pair{w, e})
		}
	}
	return all
}

// compareAll runs all rounds. A measurement that fails ends the comparison.
func compareAll(ctx context.Context, o compareOptions, r rig, exes [2]string, rep *report, p *progress) error {
	pairs := o.pairs(func(why string) { rep.skip(p, why) })
	if len(pairs) == 0 {
		return errors.New("none of the selected engines can run a selected workload, see bench --list")
	}
	p.expect(3 * o.rounds * len(pairs))
	trials, err := make([][]trial, len(pairs)), error(nil)
	for round := 1; round <= o.rounds; round++ {
		for i, pr := range pairs {
			var t trial
			// One rate for all three.
			if pr.work, err = r.calibrate(ctx, pr.work); err != nil {
				return err
			}
			for _, m := range []struct {
				name, exe string
				value     *float64
			}{
				{o.revisions[0], exes[0], &t.first}, {o.revisions[1], exes[1], &t.second}, {o.revisions[0] + " again", exes[0], &t.again},
			} {
				s, err := r.measureRevision(ctx, o, pr, m.exe)
				if err != nil {
					return fmt.Errorf("%s of %s, round %d, revision %s: %w", pr.work.name, pr.engine.name, round, m.name, err)
				}
				s.Round, s.Engine = round, pr.engine.name+"@"+m.name
				*m.value = s.Value
				rep.Runs = append(rep.Runs, s)
				p.step("%s round %d %s: %.4g %s", pr.work.name, round, s.Engine, s.Value, pr.work.metric())
			}
			trials[i] = append(trials[i], t)
		}
	}
	for i, pr := range pairs {
		c := judge(trials[i], familyLevel(len(pairs)), o.tolerance)
		c.Workload, c.Engine, c.Metric = pr.work.name, pr.engine.name, pr.work.metric()
		rep.Comparisons = append(rep.Comparisons, c)
	}
	return nil
}

// measureRevision measures an engine of another executable. The generator is this one in all cases.
func (r rig) measureRevision(ctx context.Context, o compareOptions, pr pair, exe string) (sample, error) {
	pr.engine.exe = exe
	s, err := r.measureCalm(ctx, o.calm, pr.work, pr.engine)
	if err == nil && s.Value <= 0 {
		err = fmt.Errorf("measured %v %s: the run was too short", s.Value, pr.work.metric())
	}
	return s, err
}

func printComparisons(out io.Writer, o compareOptions, all []comparison) {
	fmt.Fprintf(out, "%s ÷ %s, %d rounds, confidence intervals of %.1f %% each, so that all together have %.0f %%\n",
		o.revisions[1], o.revisions[0], o.rounds, 100*familyLevel(len(all)), 100*confidence)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "workload\tengine\tmetric\tratio\tinterval\tnoise\tdetects\tresult\t")
	for _, c := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.3f\t%s\t%s\t%.1f %%\t%s\t\n", c.Workload, c.Engine, c.Metric, c.Change.Value,
			c.Change.interval("%.3f–%.3f"), c.Noise.interval("%.3f–%.3f"), 100*c.Detectable, c.Verdict)
	}
	tw.Flush()
	if slices.ContainsFunc(all, func(c comparison) bool { return c.Verdict == uncertain }) {
		fmt.Fprintf(out, "note: %q: a slowdown of %.0f %% would not have been noticed; use a quieter machine, more --rounds, a longer --duration, or --calm\n",
			uncertain, 100*maxDetectable)
	}
}
