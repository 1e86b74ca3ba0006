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
)

// runMain is the orchestrator: all rounds of one workload, interleaved over its engines, then its table, then the next.
func runMain(args []string) error {
	opts, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if opts.list {
		printList(os.Stdout)
		return nil
	}
	if err := enoughFiles(opts.works); err != nil {
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
		res := summarise(w, samples)
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
		return errors.New("interrupted; what was measured until then is above")
	}
	return rep.failures()
}

// runWorkload goes A B C, A B C: whatever changes on the machine meanwhile meets every engine of a round.
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

// calmTries bounds how often a run is repeated for the sake of calm.
const calmTries = 20

// measureCalm measures again while others use the machine, and keeps the last run. Which
// runs are repeated does not depend on what they measured.
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

// enoughFiles refuses to begin what would end in "too many open files".
func enoughFiles(works []workload) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	for _, w := range works {
		if need := uint64(w.conns) + warmConns + 64; lim.Max < need {
			return fmt.Errorf("%s needs %d open files per process, the hard limit is %d: raise it (ulimit -Hn) or pass a smaller --conns",
				w.name, need, lim.Max)
		}
	}
	return nil
}
