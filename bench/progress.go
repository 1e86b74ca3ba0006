package main

import (
	"fmt"
	"io"
	"time"
)

// progress writes a line for each run, with the number of runs and an estimate of the time left.
type progress struct {
	out         io.Writer
	began       time.Time
	done, total int
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

// expect adds runs that are still to come.
func (p *progress) expect(runs int) {
	if p.total == 0 {
		p.began = time.Now()
	}
	p.total += runs
}

// step reports that a run has ended.
func (p *progress) step(format string, args ...any) {
	if p.done++; p.began.IsZero() {
		p.began = time.Now()
	}
	p.note("[%d/%d%s] %s", p.done, max(p.total, p.done), p.left(time.Since(p.began)), fmt.Sprintf(format, args...))
}

// note writes a line that reports no run.
func (p *progress) note(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// left estimates the time left from the time that the runs have taken so far.
func (p *progress) left(spent time.Duration) string {
	if p.done == 0 || p.done >= p.total {
		return ""
	}
	each := spent / time.Duration(p.done)
	return fmt.Sprintf(", about %v left", (each * time.Duration(p.total-p.done)).Round(time.Second))
}
