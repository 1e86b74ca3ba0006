package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// defaultDrain is how long connections may go on that are drained.
const defaultDrain = 30 * time.Second

func (a *admin) listenerCommands() []shell.Command {
	return []shell.Command{
		{Name: "listeners", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: 1, Complete: a.completeListener,
			Help: "Show all listeners, or all that is known of one.", Run: a.showListeners},
		{Name: "cap", Usage: "<listener> <n> | <listener> unlimited", Role: shell.Operator, Changes: true, MinArgs: 2, MaxArgs: 2,
			Help: "Change how many connections a listener admits, effective at once.\n\n" +
				"0 admits nobody. Who is connected stays, unless the limit evict says otherwise.",
			Run: a.cap, Complete: a.completeCap},
		{Name: "suspend", Usage: "<listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1, Complete: a.completeListenerOrAll,
			Help: "Stop accepting connections; those that live go on.\n\n" + allHelp, Run: a.suspend},
		{Name: "resume", Usage: "<listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1, Complete: a.completeListenerOrAll,
			Help: "Accept connections again.\n\n" + allHelp, Run: a.resume},
		{Name: "drain", Usage: "[--timeout TIME] <listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1, Complete: a.completeListenerOrAll,
			Help: "Stop a listener for good: accept nobody, tell its connections to end, and wait for them.\n\n" +
				"After the timeout the rest is closed. A cancelled drain goes on, only nobody waits for it. A listener that was drained\n" +
				"can only be started again by the program. " + allHelp,
			Flags: []shell.Flag{{Name: "timeout", Value: "TIME", Help: "How long connections may go on; 30s if not given. 0s closes them at once; infinity waits."}}, Run: a.drain},
		{Name: "alarms", Role: shell.Viewer, Help: "Show the alarms, and which have been reached.", Run: a.alarms},
		{Name: "limits", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: -1,
			Help: "Show the limits of all listeners, or of one.\n\nOperators change them with the command limit.", Run: a.limits, Complete: a.completeListener},
		{Name: "limit", Usage: "<listener> <name>=<value> ...", Role: shell.Operator, Changes: true, MinArgs: 2, MaxArgs: 1 + len(limits),
			Help: "Change limits of a listener, effective at once: all that are given, or, if one of them is wrong, none.\n\n" + limitsHelp(),
			Run:  a.setLimits, Complete: a.completeLimits},
	}
}

const allHelp = "\"all\" leaves out the listeners of the shell, also the one that you are connected by."

// capText shows a cap.
func capText(n int) any {
	if n == ranch.Unlimited {
		return "unlimited"
	}
	return n
}

func (a *admin) showListeners(_ context.Context, c *shell.Call) error {
	if len(c.Args) == 1 {
		return a.showListener(c)
	}
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "status", Title: "STATUS"}, {Key: "transport", Title: "TRANSPORT"}, {Key: "addr", Title: "ADDRESS"},
		{Key: "active", Title: "ACTIVE", Right: true}, {Key: "cap", Title: "CAP", Right: true}, {Key: "peak", Title: "PEAK", Right: true},
		{Key: "accepted", Title: "ACCEPTED", Right: true}, {Key: "refused", Title: "REFUSED", Right: true},
		{Key: "held", Title: "HELD", Right: true, Wide: true}, {Key: "handshakes", Title: "HANDSHAKES", Right: true, Wide: true},
		{Key: "accept_errors", Title: "ERRORS", Right: true, Wide: true},
	}}
	for _, l := range a.listeners() {
		i := l.Info()
		t.Rows = append(t.Rows, []any{i.Ref, string(i.Status), i.Transport, addrString(i.Addr), i.ActiveConnections, capText(i.MaxConnections), i.PeakConnections,
			i.Accepted, i.Refused, i.PendingConnections, i.Handshakes, i.AcceptErrors})
	}
	c.Return(t)
	return nil
}

func (a *admin) showListener(c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	i := l.Info()
	speaks := conns.Info{Protocol: i.Protocol}
	c.Return(shell.Fields{
		{Key: "listener", Title: "Listener", Value: i.Ref}, {Key: "status", Title: "Status", Value: string(i.Status)},
		{Key: "transport", Title: "Transport", Value: i.Transport}, {Key: "addr", Title: "Address", Value: addrString(i.Addr)},
		{Key: "protocol", Title: "Protocol", Value: speaks.ProtocolName()},
		{Key: "active", Title: "Connections counted", Value: i.ActiveConnections}, {Key: "cap", Title: "Cap", Value: capText(i.MaxConnections)},
		{Key: "peak", Title: "Peak", Value: i.PeakConnections}, {Key: "connections", Title: "Connections", Value: i.AllConnections},
		{Key: "held", Title: "Without a slot", Value: i.PendingConnections}, {Key: "handshakes", Title: "In the handshake", Value: i.Handshakes},
		{Key: "acceptors", Title: "Acceptors", Value: i.NumAcceptors}, {Key: "parked", Title: "Acceptors parked", Value: i.WaitingAcceptors},
		{Key: "sockets", Title: "Sockets", Value: i.NumListenSockets}, {Key: "sources", Title: "Addresses remembered", Value: i.Addresses},
		{Key: "accepted", Title: "Accepted", Value: i.Accepted}, {Key: "terminated", Title: "Ended", Value: i.Terminated}, {Key: "served", Title: "Served", Value: i.Served},
		{Key: "handshake_failed", Title: "Handshakes failed", Value: i.HandshakeFailed}, {Key: "refused", Title: "Refused", Value: i.Refused},
		{Key: "accept_errors", Title: "Errors of accept", Value: i.AcceptErrors},
	})
	return nil
}

func (a *admin) cap(_ context.Context, c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	n := ranch.Unlimited
	if c.Args[1] != "unlimited" {
		if n, err = strconv.Atoi(c.Args[1]); err != nil || n < 0 || n > math.MaxInt32 {
			return shell.Usage("cap %q: allowed are the numbers 0 to %d, and unlimited", c.Args[1], math.MaxInt32)
		}
	}
	was := l.Info().MaxConnections
	if err := l.SetMaxConnections(n); err != nil {
		return err
	}
	c.Return(shell.Fields{
		{Key: "listener", Title: "Listener", Value: l.Ref()}, {Key: "cap", Title: "Cap", Value: capText(n)},
		{Key: "was", Title: "Was", Value: capText(was)}, {Key: "active", Title: "Connections counted", Value: l.Info().ActiveConnections},
	})
	return nil
}

func (a *admin) completeCap(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 2 {
		return []string{"unlimited"}
	}
	return a.completeListener(ctx, c, args)
}

func (a *admin) suspend(_ context.Context, c *shell.Call) error {
	return a.each(c, (*ranch.Listener).Suspend)
}

func (a *admin) resume(_ context.Context, c *shell.Call) error {
	return a.each(c, (*ranch.Listener).Resume)
}

// each does something to the listeners that the command names, and returns their states.
func (a *admin) each(c *shell.Call, do func(*ranch.Listener) error) error {
	chosen, err := a.chosen(c, c.Args[0])
	if err != nil {
		return err
	}
	var faults []error
	t := shell.Table{Columns: []shell.Column{{Key: "listener", Title: "LISTENER"}, {Key: "status", Title: "STATUS"}, {Key: "addr", Title: "ADDRESS"}}}
	for _, l := range chosen {
		if err := do(l); err != nil && (c.Args[0] != all || !errors.Is(err, ranch.ErrStopped)) { // stopped meanwhile
			faults = append(faults, err)
		}
		i := l.Info()
		t.Rows = append(t.Rows, []any{i.Ref, string(i.Status), addrString(i.Addr)})
	}
	c.Return(t)
	return errors.Join(faults...)
}

// drain stops listeners. It goes on when the command is cancelled: that must not cut anybody off.
func (a *admin) drain(ctx context.Context, c *shell.Call) error {
	timeout, err := period(c, "timeout", defaultDrain, 0, infinity)
	if err != nil {
		return err
	}
	chosen, err := a.chosen(c, c.Args[0])
	if err != nil {
		return err
	}
	var names []string
	var cut, left uint64
	for _, l := range chosen {
		if own(c, l) {
			return fmt.Errorf("listener %s is the one that you are connected by: it would wait for you", l.Ref())
		}
		names = append(names, l.Ref())
		info := l.Info()
		cut += info.Reasons[conns.Aborted]
		left += uint64(info.AllConnections)
	}
	limit, cancel := context.WithoutCancel(ctx), context.CancelFunc(func() {})
	if timeout != infinity {
		limit, cancel = context.WithTimeout(limit, timeout)
	}
	began, done := time.Now(), make(chan error, 1)
	go func() {
		defer cancel()
		done <- a.server.Drain(limit, names...)
	}()
	if err := awaitDrain(ctx, c, chosen, done); err != nil {
		return err
	}
	closed := -int(cut)
	for _, l := range chosen {
		closed += int(l.Info().Reasons[conns.Aborted])
	}
	c.Return(shell.Fields{
		{Key: "drained", Title: "Drained", Value: len(chosen)}, {Key: "connections", Title: "Connections there were", Value: left},
		{Key: "closed", Title: "Closed at the limit", Value: closed}, {Key: "duration", Title: "Took", Value: time.Since(began)},
	})
	return nil
}

// awaitDrain says each second how many connections are left.
func awaitDrain(ctx context.Context, c *shell.Call, chosen []*ranch.Listener, done <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			left := 0
			for _, l := range chosen {
				left += l.Info().AllConnections
			}
			fmt.Fprintf(c.Out, "%s left\n", count(left, "connection"))
		case <-ctx.Done():
			return &shell.Error{Code: shell.CodeCancelled, Message: fmt.Sprintf("%v; the drain goes on", context.Cause(ctx))}
		}
	}
}
