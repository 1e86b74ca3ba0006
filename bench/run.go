package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goranch/internal/loadgen"
)

// runMain is the orchestrator. For each workload it runs all rounds and prints a table.
func runMain(args []string) error {
	opts, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if opts.list {
		printList(os.Stdout)
		return nil
	}
	if err := checkFileLimit(opts.works); err != nil {
		return err
	}
	rig, err := opts.rig(os.Stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	rep := newReport(args, opts, rig)
	return runAll(ctx, opts, rig, rep, os.Stdout, os.Stderr)
}

// runAll runs the workloads, prints their tables and writes the JSON file.
func runAll(ctx context.Context, opts options, r rig, rep *report, out, progressOut io.Writer) error {
	p := newProgress(progressOut)
	for _, w := range opts.works {
		ready, skipped := installed(enginesFor(w, opts.engines))
		p.expect(opts.rounds * len(ready))
		for _, why := range skipped {
			rep.skip(p, why)
		}
	}
	if p.total == 0 {
		return fmt.Errorf("none of the selected engines can run a selected workload, see --list")
	}
	for _, w := range opts.works {
		samples := runWorkload(ctx, opts, r, w, p)
		if len(samples) > 0 {
			res := summarize(w, samples)
			rep.add(res, samples)
			if err := res.print(out); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if opts.jsonFile != "" {
		if err := rep.write(opts.jsonFile); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; the results above are incomplete")
	}
	return rep.failures()
}

// runWorkload interleaves the engines (A B C, A B C), so that a change of the machine's load
// affects all engines of a round.
func runWorkload(ctx context.Context, opts options, r rig, w workload, p *progress) []sample {
	var samples []sample
	ready, _ := installed(enginesFor(w, opts.engines))
	for round := 1; round <= opts.rounds; round++ {
		rated, uncalibrated := r.calibrate(ctx, w)
		for _, e := range ready {
			if ctx.Err() != nil {
				return samples
			}
			begin := time.Now()
			s, err := sample{Workload: w.name, Engine: e.name}, uncalibrated
			if err == nil {
				s, err = r.measureCalm(ctx, opts.calm, rated, e)
			}
			s.Round = round
			if err != nil {
				s.Error = err.Error()
				p.step("%s round %d %s: %v", w.name, round, e.name, err)
			} else {
				p.step("%s round %d %s: %.4g %s (%.1f s)",
					w.name, round, e.name, s.Value, w.metric(), time.Since(begin).Seconds())
			}
			samples = append(samples, s)
		}
	}
	return samples
}

// calmTries is the maximum number of runs of one measurement with --calm.
const calmTries = 20

// measureCalm repeats a run while other processes use more of the machine than calm, and returns
// the last one. Whether a run is repeated does not depend on its figures.
func (r rig) measureCalm(ctx context.Context, calm float64, w workload, e engine) (s sample, err error) {
	for try := range calmTries {
		s, err = r.measure(ctx, w, e)
		s.Repeats = try
		if err != nil || calm == 0 || s.Others <= calm {
			break
		}
	}
	return s, err
}

// checkFileLimit returns an error if a workload would fail with "too many open files".
func checkFileLimit(works []workload) error {
	limit := loadgen.MaxOpenFiles()
	for _, w := range works {
		perProcess := w.conns
		if w.kind == kindScale {
			perProcess = w.each
		}
		if need := perProcess + warmConns + 64; limit < need {
			return fmt.Errorf("%s needs %d open files per process, the hard limit is %d: raise it (ulimit -Hn) or pass a smaller --conns",
				w.name, need, limit)
		}
	}
	return nil
}
