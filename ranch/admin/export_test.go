package admin

import "goranch/protocol/shell"

// NewForTest returns the commands, and a function that returns another one for the running trace:
// the number of its events that are not shown yet, also after it has ended.
func NewForTest(o Options) (commands []shell.Command, traceQueue func() func() int) {
	a := newAdmin(o)
	return a.commands(), func() func() int {
		tr := a.runningTraces()[0]
		return func() int { return len(tr.lines) + int(tr.dropped.Load()) }
	}
}
