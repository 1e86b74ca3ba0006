package admin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

const (
	defaultTraced = 64   // bytes shown of each read and write
	maxTraced     = 4096 // may be asked for
	maxPending    = 1024 // reads and writes that wait to be shown
)

// errTraceOff ends a trace that somebody has switched off.
var errTraceOff = errors.New("the trace was switched off")

// tracing is one trace that is on.
type tracing struct {
	target  string
	by      shell.User
	remote  string
	asking  uint64 // the connection that sees it
	since   time.Time
	end     context.CancelCauseFunc
	bytes   int
	lines   chan []byte
	dropped atomic.Uint64
	shown   atomic.Uint64
}

// trace shows what connections carry. The connections that are traced never wait for it.
func (a *admin) trace(ctx context.Context, c *shell.Call) error {
	id, network, err := parseTarget(c.Args[0])
	if err != nil {
		return err
	}
	if len(c.Args) == 2 {
		switch c.Args[1] {
		case "on":
		case "off":
			return a.traceOff(c)
		default:
			return shell.Usage("trace %s %q: allowed are on and off", c.Args[0], c.Args[1])
		}
	}
	n, err := whole(c, "bytes", defaultTraced, 0, maxTraced)
	if err != nil {
		return err
	}
	listeners, err := a.traced(c, id)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	tr := &tracing{target: c.Args[0], by: c.User, remote: c.Remote.String(), asking: c.Conn().ID(), since: time.Now(),
		end: end, bytes: n, lines: make(chan []byte, maxPending)}
	a.begin(tr)
	defer a.finish(tr)
	for _, l := range listeners {
		defer l.Trace(conns.Trace{ID: id, Network: network, Func: a.tracer(tr, l.Ref())})()
	}
	err = a.follow(ctx, c, tr, func() bool {
		if id == 0 {
			return true
		}
		_, lives := listeners[0].Connection(id)
		return lives
	})
	if cause := context.Cause(ctx); errors.Is(cause, errTraceOff) {
		err = nil
		c.Return(cause.Error())
	}
	return err
}

// parseTarget reads an id, a network or an address.
func parseTarget(s string) (id uint64, network netip.Prefix, err error) {
	if id, err := strconv.ParseUint(s, 10, 64); err == nil && id > 0 {
		return id, netip.Prefix{}, nil
	}
	if p, ok := parseNetwork(s); ok {
		return 0, p, nil
	}
	return 0, netip.Prefix{}, shell.Usage("%q: allowed are ids of connections, such as 7, and networks, such as 10.0.0.0/8 or 10.1.2.3", s)
}

// traced returns the listeners that a trace concerns: what the shell itself sends is no part of what
// it shows, for that would never end.
func (a *admin) traced(c *shell.Call, id uint64) ([]*ranch.Listener, error) {
	if id == 0 {
		return slices.DeleteFunc(a.listeners(), func(l *ranch.Listener) bool { return a.kept(c, l) }), nil
	}
	if id == c.Conn().ID() {
		return nil, fmt.Errorf("connection %d is yours: a trace would show itself", id)
	}
	l, _, err := a.connection(id)
	return []*ranch.Listener{l}, err
}

// tracer is called by the connections that are traced.
func (a *admin) tracer(tr *tracing, listener string) func(transport.TraceEvent) {
	return func(e transport.TraceEvent) {
		if a.isAsking(e.Conn.ID()) { // two traces of each other would never end either
			return
		}
		if len(tr.lines) == maxPending { // nothing is formatted in vain
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

// appendEvent appends a line for a read or write.
func appendEvent(b []byte, listener string, e transport.TraceEvent, most int) []byte {
	b = time.Now().AppendFormat(b, "15:04:05.000000")
	b = fmt.Appendf(b, " %d %s %s %s %d", e.Conn.ID(), listener, addrString(e.Conn.RemoteAddr()), e.Op, e.N)
	if n := min(most, len(e.Data)); n > 0 {
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

// follow shows what is traced until ctx ends, or nothing lives any more that could be.
func (a *admin) follow(ctx context.Context, c *shell.Call, tr *tracing, lives func() bool) error {
	fmt.Fprintf(c.Out, "tracing %s; cancel to end\n", tr.target)
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
			ended = !lives()
		}
		if n := tr.dropped.Swap(0); n > 0 {
			fmt.Fprintf(c.Out, "(%s dropped)\n", count(int(n), "event"))
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

func (tr *tracing) show(c *shell.Call, line []byte) error {
	tr.shown.Add(1)
	_, err := c.Out.Write(line)
	return err
}

func (a *admin) begin(tr *tracing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.traces[tr] = struct{}{}
}

func (a *admin) finish(tr *tracing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.traces, tr)
}

// isAsking reports whether a connection is shown a trace.
func (a *admin) isAsking(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tr := range a.traces {
		if tr.asking == id {
			return true
		}
	}
	return false
}

func (a *admin) traceOff(c *shell.Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for tr := range a.traces {
		if tr.target == c.Args[0] {
			tr.end(errTraceOff)
			n++
		}
	}
	if n == 0 {
		return fmt.Errorf("there is no trace of %s", c.Args[0])
	}
	c.Return(shell.Fields{{Key: "ended", Title: "Traces ended", Value: n}})
	return nil
}

// on returns the traces that are on, the oldest first.
func (a *admin) on() []*tracing {
	a.mu.Lock()
	defer a.mu.Unlock()
	var on []*tracing
	for tr := range a.traces {
		on = append(on, tr)
	}
	slices.SortFunc(on, func(x, y *tracing) int { return x.since.Compare(y.since) })
	return on
}

func (a *admin) showTraces(_ context.Context, c *shell.Call) error {
	t := shell.Table{Columns: []shell.Column{
		{Key: "target", Title: "TRACE OF"}, {Key: "by", Title: "BY"}, {Key: "remote", Title: "FROM"},
		{Key: "since", Title: "SINCE", Kind: shell.KindTime}, {Key: "shown", Title: "SHOWN", Right: true},
	}}
	for _, tr := range a.on() {
		t.Rows = append(t.Rows, []any{tr.target, tr.by.Name, tr.remote, tr.since, tr.shown.Load()})
	}
	c.Return(t)
	return nil
}

func (a *admin) completeTrace(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) == 2 {
		return []string{"on", "off"}
	}
	words := a.completeID(ctx, c, args)
	for _, tr := range a.on() {
		words = append(words, tr.target)
	}
	return words
}
