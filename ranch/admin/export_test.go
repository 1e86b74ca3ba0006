package admin

import "goranch/protocol/shell"

// New returns the commands, and what tells how much a trace that is on has pending, also when it has ended.
func New(o Options) (commands []shell.Command, pending func() func() int) {
	a := newAdmin(o)
	return a.commands(), func() func() int {
		tr := a.on()[0]
		return func() int { return len(tr.lines) + int(tr.dropped.Load()) }
	}
}
