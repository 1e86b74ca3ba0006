package main

import (
	"context"
	"fmt"
	"time"
)

// measureOpen receives the latencies of an open loop.
func (r rig) measureOpen(ctx context.Context, w workload, load *child, s *sample) error {
	var seen openResult
	if err := load.receive(ctx, r.warmup+r.duration+openDrain+time.Minute, &seen); err != nil {
		return err
	}
	s.window(seen.windowResult)
	s.Value = float64(seen.P99) / 1e3
	s.More = map[string]float64{
		keyRate: w.rate, keyUnanswered: float64(seen.Unanswered), keyCPU: seen.cpuPerOp(),
		keyP50: float64(seen.P50) / 1e3, keyP999: float64(seen.P999) / 1e3, keyMax: float64(seen.Max) / 1e3,
		keyLate: float64(seen.LateP99) / 1e3,
	}
	return nil
}

// calibrate returns the workload with its rate. For an open loop that is a share of what the base
// engine answers in a closed loop over the same connections, measured anew in each round: a rate
// from another hour could be more than the machine can do now.
func (r rig) calibrate(ctx context.Context, w workload) (workload, error) {
	if w.kind != kindOpen || w.rate > 0 {
		return w, nil
	}
	base, err := findEngine(w.bases[0])
	if err != nil {
		return w, err
	}
	closed := workload{name: w.name, kind: kindEcho, conns: w.conns, size: w.size}
	s, err := r.measure(ctx, closed, base)
	if err != nil {
		return w, fmt.Errorf("highest load of %s: %w", base.name, err)
	}
	w.rate = w.load * s.OpsPerSec
	return w, nil
}
