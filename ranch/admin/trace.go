package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

const (
	defaultTraceBytes = 64   // shown of each read and write
	maxTraceBytes     = 4096 // the largest value of --bytes
	maxTraceQueue     = 1024 // events that wait to be shown
)

// errTraceOff ends a trace that "trace TARGET off" stops.
var errTraceOff = errors.New("stopped by trace off")

func (a *admin) traceCommands() []shell.Command {
	return []shell.Command{
		{Name: "trace", Usage: "<id> | <network> [on|off] [--bytes N]", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 2,
			Help: "Show the reads and writes of a connection, or of all peers in a network, until cancelled.\n\n" +
				"The output can contain secrets of users, such as passwords; for TLS connections it is the\n" +
				"plaintext. The audit log records the call when it ends. \"off\" stops the traces of that id or\n" +
				"network, including those of other operators. A network applies to the current listeners except\n" +
				"those of the shell. Events that arrive faster than they can be shown are dropped and counted.",
			Flags: []shell.Flag{{Name: "bytes", Value: "N",
				Help: "Bytes shown of each read and write, up to 4096; 0 shows none. Default: 64."}},
			Run: a.trace, Complete: a.completeTrace},
		{Name: "traces", Role: shell.Viewer, Help: "List running traces and their users.", Run: a.showTraces},
	}
}

// trace is a running trace.
type trace struct {
	target string // id or network
	user   shell.User
	remote string
	output uint64 // id of the connection to which the output is written
	since  time.Time
	cancel context.CancelCauseFunc
	bytes  int // shown of each event

	lines   chan []byte
	dropped atomic.Uint64 // since the last report
	shown   atomic.Uint64
}

// trace shows reads and writes. The traced connections never wait for it.
func (a *admin) trace(ctx context.Context, c *shell.Call) error {
	id, network, err := parseTarget(c.Args[0])
	if err != nil {
		return err
	}
	if len(c.Args) == 2 {
		switch c.Args[1] {
		case "on":
		case "off":
			return a.stopTraces(c)
		default:
			return shell.Usage("trace %s %q: allowed are on and off", c.Args[0], c.Args[1])
		}
	}
	n, err := intFlag(c, "bytes", defaultTraceBytes, 0, maxTraceBytes)
	if err != nil {
		return err
	}
	listeners, err := a.tracedListeners(c, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tr := &trace{target: c.Args[0], user: c.User, remote: c.Remote.String(), output: c.Conn().ID(), since: time.Now(),
		cancel: cancel, bytes: n, lines: make(chan []byte, maxTraceQueue)}
	a.addTrace(tr)
	defer a.removeTrace(tr)
	for _, l := range listeners {
		defer l.Trace(conns.Trace{ID: id, Network: network, Func: a.tracer(tr, l.Ref())})()
	}
	err = tr.run(ctx, c, func() bool {
		return id == 0 || has(listeners[0], id)
	})
	if cause := context.Cause(ctx); errors.Is(cause, errTraceOff) {
		err = nil
		c.Return(cause.Error())
	}
	return err
}

// parseTarget reads a connection id, a network or an IP address. id is 0 for the latter two.
func parseTarget(s string) (id uint64, network netip.Prefix, err error) {
	if id, err := strconv.ParseUint(s, 10, 64); err == nil && id > 0 {
		return id, netip.Prefix{}, nil
	}
	if p, ok := parseNetwork(s); ok {
		return 0, p, nil
	}
	return 0, netip.Prefix{}, shell.Usage("%q: allowed are connection ids such as 7, and networks such as 10.0.0.0/8 or 10.1.2.3", s)
}

// tracedListeners returns the listeners that a trace applies to. It excludes those of the shell:
// the output of a trace is itself a write, so a trace that showed it would never end.
func (a *admin) tracedListeners(c *shell.Call, id uint64) ([]*ranch.Listener, error) {
	if id == 0 {
		return a.unprotected(c), nil
	}
	if id == c.Conn().ID() {
		return nil, fmt.Errorf("connection %d is your own: the trace would show its own output", id)
	}
	l, _, err := a.connection(id)
	return []*ranch.Listener{l}, err
}

// tracer returns the function that traced connections call.
func (a *admin) tracer(tr *trace, listener string) func(transport.TraceEvent) {
	return func(e transport.TraceEvent) {
		if a.isTraceOutput(e.Conn.ID()) { // two connections that trace each other would never end either
			return
		}
		if len(tr.lines) == maxTraceQueue { // saves formatting
			tr.dropped.Add(1)
			return
		}
		select {
		case tr.lines <- appendEvent(nil, listener, e, tr.bytes):
		default:
			tr.dropped.Add(1)
		}
	}
}

// appendEvent appends a line for a read or write with at most maxBytes of its data.
func appendEvent(b []byte, listener string, e transport.TraceEvent, maxBytes int) []byte {
	b = time.Now().AppendFormat(b, "15:04:05.000000")
	b = fmt.Appendf(b, " %d %s %s %s %d", e.Conn.ID(), listener, addrString(e.Conn.RemoteAddr()), e.Op, e.N)
	if n := min(maxBytes, len(e.Data)); n > 0 {
		b = strconv.AppendQuoteToASCII(append(b, ' '), string(e.Data[:n]))
		if n < len(e.Data) {
			b = append(b, "..."...)
		}
	}
	if e.Err != nil {
		b = strconv.AppendQuoteToASCII(append(b, " error "...), e.Err.Error())
	}
	return append(b, '\n')
}

// run shows the events until ctx ends or isLive returns false.
func (tr *trace) run(ctx context.Context, c *shell.Call, isLive func() bool) error {
	fmt.Fprintf(c.Out, "tracing %s; cancel to stop\n", tr.target)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line := <-tr.lines:
			if err := tr.show(c, line); err != nil {
				return err
			}
		case <-tick.C:
			ended = !isLive()
		}
		if n := tr.dropped.Swap(0); n > 0 {
			fmt.Fprintf(c.Out, "(%s dropped)\n", plural(int(n), "event"))
		}
		if ended {
			for len(tr.lines) > 0 {
				if err := tr.show(c, <-tr.lines); err != nil {
					return err
				}
			}
			c.Return("the connection has ended")
			return nil
		}
	}
}

func (tr *trace) show(c *shell.Call, line []byte) error {
	tr.shown.Add(1)
	_, err := c.Out.Write(line)
	return err
}
