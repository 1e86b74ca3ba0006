package admin

import (
	"context"
	"fmt"
	"slices"

	"goranch/protocol/shell"
)

func (a *admin) addTrace(tr *trace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.traces[tr] = struct{}{}
}

func (a *admin) removeTrace(tr *trace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.traces, tr)
}

// isTraceOutput reports whether the output of a trace is written to the connection.
func (a *admin) isTraceOutput(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tr := range a.traces {
		if tr.output == id {
			return true
		}
	}
	return false
}

// stopTraces stops all traces of a target.
func (a *admin) stopTraces(c *shell.Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for tr := range a.traces {
		if tr.target == c.Args[0] {
			tr.cancel(errTraceOff)
			n++
		}
	}
	if n == 0 {
		return fmt.Errorf("no trace of %s", c.Args[0])
	}
	c.Return(shell.Fields{{Key: "ended", Title: "Traces stopped", Value: n}})
	return nil
}

// runningTraces returns the running traces, the oldest first.
func (a *admin) runningTraces() []*trace {
	a.mu.Lock()
	defer a.mu.Unlock()
	var running []*trace
	for tr := range a.traces {
		running = append(running, tr)
	}
	slices.SortFunc(running, func(x, y *trace) int { return x.since.Compare(y.since) })
	return running
}

func (a *admin) showTraces(_ context.Context, c *shell.Call) error {
	t := shell.Table{Columns: []shell.Column{
		{Key: "target", Title: "TARGET"}, {Key: "user", Title: "USER"}, {Key: "remote", Title: "REMOTE"},
		{Key: "since", Title: "SINCE", Kind: shell.KindTime}, {Key: "events", Title: "EVENTS", Right: true},
	}}
	for _, tr := range a.runningTraces() {
		t.Rows = append(t.Rows, []any{tr.target, tr.user.Name, tr.remote, tr.since, tr.shown.Load()})
	}
	c.Return(t)
	return nil
}
