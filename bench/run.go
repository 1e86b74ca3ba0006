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
	for _, w := range opts.works {
		samples := runWorkload(ctx, opts, rig, w, os.Stderr)
		res := summarize(w, samples)
		rep.add(res, samples)
		if err := res.print(os.Stdout); err != nil {
			return err
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
func runWorkload(ctx context.Context, opts options, r rig, w workload, progress io.Writer) []sample {
	var samples []sample
	for round := 1; round <= opts.rounds; round++ {
		for _, e := range enginesFor(w, opts.engines) {
			if ctx.Err() != nil {
				return samples
			}
			begin := time.Now()
			s, err := r.measureCalm(ctx, opts.calm, w, e)
			s.Round = round
			if err != nil {
				s.Error = err.Error()
				fmt.Fprintf(progress, "%s round %d %s: %v\n", w.name, round, e.name, err)
			} else {
				fmt.Fprintf(progress, "%s round %d %s: %.4g %s (%.1f s)\n",
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
		if need := w.conns + warmConns + 64; limit < need {
			return fmt.Errorf("%s needs %d open files per process, the hard limit is %d: raise it (ulimit -Hn) or pass a smaller --conns",
				w.name, need, limit)
		}
	}
	return nil
}
