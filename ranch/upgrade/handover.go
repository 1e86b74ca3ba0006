package upgrade

import (
	"context"
	"fmt"
	"slices"
)

// handOver stops accepting on the adopted sockets, lets the successor begin, and gives up the
// sockets. Until the successor has confirmed that it accepts, everything can be undone.
func (a *attempt) handOver(ctx context.Context, call readyCall) (Result, error) {
	adopted, err := a.adopted(call.adopted)
	if err != nil {
		call.reply <- err
		return Result{}, err
	}
	for _, l := range adopted {
		l.gate.block(l.acceptor)
	}
	call.reply <- nil
	confirm, err := a.awaitServing(ctx)
	if err != nil {
		a.abandon() // before accepting again: there must be no two
		for _, l := range adopted {
			l.gate.unblock(l.acceptor)
		}
		return Result{}, err
	}
	for _, l := range adopted {
		l.markHanded()
	}
	a.u.stores.opened(a.control)
	r := Result{PID: a.cmd.Process.Pid, Sockets: len(adopted)}
	for _, l := range a.listeners {
		if !slices.Contains(adopted, l) && !slices.Contains(r.Closed, l.entry.Ref) {
			r.Closed = append(r.Closed, l.entry.Ref)
		}
	}
	if f := a.u.opts.HandOver; f != nil {
		f(r.PID)
	}
	confirm <- nil
	return r, nil
}

func (a *attempt) awaitServing(ctx context.Context) (confirm chan<- error, err error) {
	select {
	case confirm := <-a.serving:
		return confirm, nil
	case <-a.control.ctx.Done():
		return nil, a.explain(ctx, context.Cause(a.control.ctx))
	case <-a.exited:
		return nil, a.explain(ctx, nil)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// adopted returns the listeners with these indexes. All must still be open.
func (a *attempt) adopted(indexes []int) (all []*listener, err error) {
	for _, i := range indexes {
		if i < 0 || i >= len(a.listeners) || slices.Contains(all, a.listeners[i]) {
			return nil, fmt.Errorf("the successor has adopted socket %d of %d, or one twice", i, len(a.listeners))
		}
		l := a.listeners[i]
		if l.closed.Load() {
			return nil, fmt.Errorf("listener %s was closed during the upgrade", l.entry.Ref)
		}
		all = append(all, l)
	}
	return all, nil
}
