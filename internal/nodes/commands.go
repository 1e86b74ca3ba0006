package nodes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"goranch/internal/nearest"
	"goranch/protocol/shell"
)

// Commands returns the command nodes, and the given commands, of which those that other nodes can
// run have the flag --node. With nil Nodes it returns the given commands.
func (n *Nodes) Commands(commands []shell.Command) []shell.Command {
	if n == nil {
		return commands
	}
	all := slices.Clone(commands)
	for i := range all {
		if r, ok := routes[all[i].Name]; ok {
			all[i] = n.routed(all[i], r)
		}
	}
	return append(all, n.nodesCommand())
}

func (n *Nodes) nodesCommand() shell.Command {
	return shell.Command{
		Name: "nodes", Usage: "[<node> ...] [--wait TIME]", Role: shell.Viewer, MaxArgs: maxNodes,
		Help: "List the nodes of the cluster, all or those that are named.\n\n" +
			"A node whose last heartbeat is older than 15 s is gone, and forgotten after 10 minutes. The clock is\n" +
			"that of the node, compared to this one. With --wait the command fails unless the named nodes, by default all\n" +
			"but stopped ones, are ready, and the copies of all streams are up to date, within that time.",
		Flags:    []shell.Flag{{Name: "wait", Value: "TIME", Help: "Wait until the nodes are ready. 0s checks once."}},
		Run:      n.runNodes,
		Complete: func(context.Context, *shell.Call, []string) []string { return n.names() },
	}
}

// names returns the names of all nodes that are known, sorted.
func (n *Nodes) names() []string {
	var names []string
	for _, node := range n.List() {
		names = append(names, node.Name)
	}
	return names
}

// find returns a node that is known. Its error suggests a similar name.
func (n *Nodes) find(name string) (Node, error) {
	all := n.List()
	if i := slices.IndexFunc(all, func(node Node) bool { return node.Name == name }); i >= 0 {
		return all[i], nil
	}
	names := n.names()
	return Node{}, &shell.Error{
		Message:    fmt.Sprintf("no node %q; nodes: %s", name, strings.Join(names, ", ")),
		Suggestion: nearest.Name(name, names),
	}
}

// selected returns the named nodes, or all.
func (n *Nodes) selected(names []string) ([]Node, error) {
	if len(names) == 0 {
		return n.List(), nil
	}
	var selected []Node
	for _, name := range names {
		node, err := n.find(name)
		if err != nil {
			return nil, err
		}
		selected = append(selected, node)
	}
	return selected, nil
}

func (n *Nodes) runNodes(ctx context.Context, c *shell.Call) error {
	if s, given := c.Flags["wait"]; given {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > maxWait {
			return shell.Usage("flag --wait %q: allowed are durations from 0s to %v", s, maxWait)
		}
		if err := n.wait(ctx, c, d); err != nil {
			return err
		}
	}
	selected, err := n.selected(c.Args)
	if err != nil {
		return err
	}
	c.Return(table(selected))
	return nil
}

const maxWait = 24 * time.Hour

var columns = []shell.Column{
	{Key: "node", Title: "NODE"}, {Key: "state", Title: "STATE"},
	{Key: "connections", Title: "CONNECTIONS", Right: true}, {Key: "sessions", Title: "SESSIONS", Right: true},
	{Key: "subscribers", Title: "SUBSCRIBERS", Right: true},
	{Key: "version", Title: "VERSION"}, {Key: "uptime", Title: "UPTIME", Right: true, Kind: shell.KindDuration},
	{Key: "heard", Title: "HEARD", Right: true, Kind: shell.KindDuration},
	{Key: "self", Title: "SELF"}, {Key: "reason", Title: "REASON"},
	{Key: "clock", Title: "CLOCK", Right: true, Kind: shell.KindDuration, Wide: true},
	{Key: "started", Title: "STARTED", Kind: shell.KindTime, Wide: true},
	{Key: "listeners", Title: "LISTENERS", Wide: true},
}

// table shows nodes.
func table(nodes []Node) shell.Table {
	t := shell.Table{Columns: columns, Rows: make([][]any, len(nodes))}
	for i, n := range nodes {
		var listeners []string
		for _, l := range n.Listeners {
			listeners = append(listeners, l.Name+"="+l.Address)
		}
		uptime := max(time.Since(n.Started)+n.Offset, 0).Round(time.Second)
		t.Rows[i] = []any{
			n.Name, string(n.State), n.Connections, n.Sessions, n.Subscribers, n.Version, uptime, n.Heard.Round(time.Millisecond),
			n.IsSelf, n.Reason, n.Offset, n.Started, strings.Join(listeners, " "),
		}
	}
	return t
}

// pollInterval is the time between two checks of a wait.
const pollInterval = 250 * time.Millisecond

// wait waits until the nodes are ready and the copies of streams are up to date, and shows what is
// missing.
func (n *Nodes) wait(ctx context.Context, c *shell.Call, limit time.Duration) error {
	deadline, shown := time.Now().Add(limit), ""
	for {
		missing, err := n.missing(ctx, c.Args)
		if err != nil || missing == "" {
			return err
		}
		if !time.Now().Before(deadline) {
			return &shell.Error{Message: missing}
		}
		if missing != shown {
			shown = missing
			if _, err := fmt.Fprintf(c.Out, "waiting: %s\n", missing); err != nil {
				return err
			}
		}
		select {
		case <-time.After(min(pollInterval, time.Until(deadline))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// missing describes which nodes are not ready and which copies lag behind; "" is none.
func (n *Nodes) missing(ctx context.Context, names []string) (string, error) {
	var reasons []string
	selected, err := n.selected(names)
	if err != nil {
		return err.Error(), nil // it may arrive
	}
	for _, node := range selected {
		if node.State == Ready || len(names) == 0 && node.State == Stopped {
			continue
		}
		reason := fmt.Sprintf("node %s is %s", node.Name, node.State)
		if node.Reason != "" {
			reason += " (" + node.Reason + ")"
		}
		reasons = append(reasons, reason)
	}
	if len(reasons) > 0 {
		return strings.Join(reasons, "; "), nil
	}
	limited, cancel := context.WithTimeout(ctx, firstTimeout)
	defer cancel()
	if err := n.opts.Synced(limited); err != nil {
		return err.Error(), context.Cause(ctx)
	}
	return "", nil
}

// Summary counts the nodes in one line: "3 nodes: 2 ready, 1 gone".
func (n *Nodes) Summary() string {
	counts, all := map[State]int{}, n.List()
	for _, node := range all {
		counts[node.State]++
	}
	var words []string
	for _, s := range States {
		if counts[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	noun := "nodes"
	if len(all) == 1 {
		noun = "node"
	}
	return fmt.Sprintf("%d %s: %s", len(all), noun, strings.Join(words, ", "))
}
