package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"goranch/protocol/shell"
)

// everyNode is the value of --node that selects all nodes.
const everyNode = "all"

// route says how a command runs at other nodes.
type route struct {
	one    bool   // at one node at a time
	sort   string // the default of its flag sort, or the column by which rows are sorted; "" sorts by node
	limit  string // its flag with the number of rows; "" is none
	rows   int    // the default of that flag
	noArgs string // the argument if there is none
	unless string // not if this flag is given
}

// routes are the commands that run at other nodes, by name.
var routes = map[string]route{
	"connections": {sort: "age", limit: "limit", rows: 100},
	"closed":      {sort: "ended", limit: "limit", rows: 100},
	"sources":     {sort: "connections", limit: "limit", rows: 20},
	"sessions":    {sort: "since", limit: "limit", rows: 100},
	"connection":  {one: true},
	"drain":       {one: true, noArgs: everyNode, unless: "watch"},
	"status":      {}, "stats": {}, "listeners": {}, "limits": {}, "topics": {}, "bans": {}, "alarms": {}, "version": {},
	"kill": {}, "end": {}, "ban": {}, "unban": {}, "cap": {}, "limit": {}, "suspend": {}, "resume": {}, "reload": {},
}

// routed returns a command with the flag --node.
func (n *Nodes) routed(c shell.Command, r route) shell.Command {
	original, value, help := c, "NODE", "Run the command at that node."
	if !r.one {
		value, help = "NODE|all", "Run the command at that node, or at all nodes."
	}
	if r.noArgs != "" {
		help += " Without a listener: " + r.noArgs + "."
	}
	c.Usage = strings.TrimLeft(c.Usage+" [--node "+value+"]", " ")
	c.Flags = append(slices.Clone(c.Flags), shell.Flag{Name: "node", Value: value, Help: help, Complete: func(context.Context, *shell.Call) []string {
		if r.one {
			return n.names()
		}
		return append(n.names(), everyNode)
	}})
	c.Run = func(ctx context.Context, call *shell.Call) error {
		name, given := call.Flags["node"]
		if !given {
			return original.Run(ctx, call)
		}
		if r.noArgs != "" && len(call.Args) == 0 && call.Flags[r.unless] == "" {
			call.Args = []string{r.noArgs}
		}
		local := maps.Clone(call.Flags) // those of the call are for the audit log too
		delete(local, "node")
		if name != everyNode {
			return n.runAt(ctx, call, &original, name, local)
		}
		if r.one {
			return shell.Usage("%s runs at one node at a time: --node NODE", c.Name)
		}
		return n.runEverywhere(ctx, call, &original, r, local)
	}
	return c
}

// runAt runs a command at one node.
func (n *Nodes) runAt(ctx context.Context, call *shell.Call, c *shell.Command, name string, flags map[string]string) error {
	if name == n.opts.Name {
		call.Flags = flags
		return c.Run(ctx, call)
	}
	if _, err := n.find(name); err != nil {
		return err
	}
	budget := new(atomic.Int64)
	budget.Store(maxAnswers)
	v, err := n.ask(ctx, name, n.newCall(call, c, flags, budget))
	if err != nil {
		return at(name, err)
	}
	call.Return(v)
	return nil
}

// newCall returns the request for a call of an operator.
func (n *Nodes) newCall(of *shell.Call, c *shell.Command, flags map[string]string, budget *atomic.Int64) call {
	return call{
		request: request{
			Command: c.Name, Args: of.Args, Flags: flags, User: cut(of.User.Name), Role: of.User.Role.String(), Remote: cut(of.Remote.String()),
		},
		out: of.Out, frame: of.Frame, budget: budget,
	}
}

// at says at which node a command has failed.
func at(name string, err error) *shell.Error {
	e := asError(err)
	e.Message = "node " + name + ": " + e.Message
	return e
}

// answer is what one node has answered.
type answer struct {
	node  string
	value any
	err   error
}

// runEverywhere runs a command at all nodes that are alive, and merges what they answer. A command
// that changes something fails if it has failed at one of them; others show which did not answer.
func (n *Nodes) runEverywhere(ctx context.Context, call *shell.Call, c *shell.Command, r route, flags map[string]string) error {
	p, err := r.page(c, flags)
	if err != nil {
		return err
	}
	answers := n.askAll(ctx, call, c, p.flags)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var faults []error
	for _, a := range answers {
		if a.err != nil {
			faults = append(faults, at(a.node, a.err))
		}
	}
	ok := slices.DeleteFunc(answers, func(a answer) bool { return a.err != nil })
	switch {
	case len(ok) == 0 && len(faults) == 1:
		return faults[0]
	case len(ok) == 0:
		return asError(errors.Join(faults...))
	case len(faults) > 0 && c.Changes:
		var names []string
		for _, a := range ok {
			names = append(names, a.node)
		}
		return &shell.Error{Message: errors.Join(append(faults, fmt.Errorf("done at %s", strings.Join(names, ", ")))...).Error()}
	}
	for _, err := range faults {
		if _, err := fmt.Fprintf(call.Out, "no answer of %v\n", err); err != nil {
			return err
		}
	}
	t, err := merge(ok, p)
	if err != nil {
		return err
	}
	call.Return(t)
	return nil
}

// askAll runs a command at this node and at all others that are alive, and returns all answers,
// sorted by node.
func (n *Nodes) askAll(ctx context.Context, call *shell.Call, c *shell.Command, flags map[string]string) []answer {
	all := n.List()
	answers := make([]answer, len(all))
	budget := new(atomic.Int64)
	budget.Store(maxAnswers)
	remote := n.newCall(call, c, flags, budget)
	remote.out, remote.frame = io.Discard, func(any) error { return nil }
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i, node := range all {
		answers[i].node = node.Name
		switch {
		case node.IsSelf:
			answers[i].value, answers[i].err = n.runHere(ctx, call, c, flags)
		case !node.alive():
			answers[i].err = fmt.Errorf("it is %s", node.State)
		default:
			slots <- struct{}{}
			wg.Go(func() {
				answers[i].value, answers[i].err = n.ask(ctx, node.Name, remote)
				<-slots
			})
		}
	}
	wg.Wait()
	return answers
}

// runHere runs a command at this node, with the connection of the operator, which kill and end
// except. The result has the types that those of other nodes have.
func (n *Nodes) runHere(ctx context.Context, call *shell.Call, c *shell.Command, flags map[string]string) (any, error) {
	v, err := c.Invoke(ctx, shell.Invocation{Args: call.Args, Flags: flags, User: call.User, Remote: call.Remote, Conn: call.Conn()})
	if err != nil {
		return nil, err
	}
	b, err := shell.MarshalResult(v)
	if err != nil {
		return nil, err
	}
	return parseResult(b)
}

// page is the part of the merged rows that a command shows.
type page struct {
	flags         map[string]string // for the nodes
	sort          string
	reverse       bool
	offset, limit int // a limit of 0 is none
}

// maxRows is the largest number of rows that a node returns.
const maxRows = 1000

// page makes nodes return all rows up to the end of the page.
func (r route) page(c *shell.Command, flags map[string]string) (page, error) {
	p := page{flags: flags, sort: r.sort, reverse: flags["reverse"] != ""}
	if s := flags["sort"]; s != "" {
		p.sort = s
	}
	if r.limit == "" {
		return p, nil
	}
	p.limit = r.rows
	for name, to := range map[string]*int{r.limit: &p.limit, "offset": &p.offset} {
		s, given := flags[name]
		if !given {
			continue
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < 0 || v > maxRows || v == 0 && name == r.limit {
			return p, shell.Usage("flag --%s %q: with --node all, allowed are numbers up to %d", name, s, maxRows)
		}
		*to = v
	}
	if p.offset+p.limit > maxRows {
		return p, shell.Usage("with --node all, --offset and --%s are at most %d together", r.limit, maxRows)
	}
	p.flags = maps.Clone(flags)
	delete(p.flags, "offset")
	p.flags[r.limit] = strconv.Itoa(p.offset + p.limit)
	return p, nil
}
