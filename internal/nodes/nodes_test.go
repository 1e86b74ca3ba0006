package nodes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
)

// Nodes see each other arrive, change their state, and stop.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	a := newNode(t, "a")
	b := newNode(t, "bb")
	a.expect("a ready 1, bb ready 2, ")
	b.expect("a ready 1, bb ready 2, ")
	b.set(Draining, "", 7)
	a.expect("a ready 1, bb draining 7, ")
	if got, want := a.Summary(), "2 nodes: 1 ready, 1 draining"; got != want {
		t.Errorf("Summary: got %q, want %q", got, want)
	}
	b.Close()
	a.expect("a ready 1, bb stopped 0, ")
	again := newNode(t, "bb")
	again.expect("a ready 1, bb ready 2, ")
	a.expect("a ready 1, bb ready 2, ")
	if diff := cmp.Diff(map[State]int{Ready: 2}, again.Stats().Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

// Two nodes with the same name report it.
func TestSameName(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a"), newNode(t, "a")
	a.expect("a degraded 1, ")
	b.expect("a degraded 1, ")
	if got, want := a.List()[0].Reason, "another node has the same name"; got != want {
		t.Errorf("reason: got %q, want %q", got, want)
	}
}

// Messages that are not valid are counted and change nothing.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	a := newNode(t, "a")
	nc := connect(t)
	beat := func(s string) string { return `{"kind":"alive","state":"ready",` + s + `}` }
	long := strings.Repeat("x", maxText+1)
	var want uint64
	for subject, bodies := range map[string][]string{
		beats: {"", "{", "[]", beat(`"name":""`), beat(`"name":"all"`), beat(`"name":"a b"`), beat(`"name":"b","connections":-1`),
			beat(`"name":"b","version":"` + long + `"`), beat(`"name":"b","listeners":[{"name":"` + long + `"}]`),
			beat(`"name":"b","reason":"` + long + `"`), strings.Repeat(" ", maxBeat) + beat(`"name":"b"`)},
		requests: {"", `{"node":""}`, `{"node":"b","command":"` + long + `"}`, `{"node":"b","command":"x"}`},
	} {
		for _, body := range bodies {
			want++
			to := a.subject(subject)
			if subject == requests {
				to = a.subject(requests, "a")
			}
			if err := nc.Publish(to, []byte(body)); err != nil {
				t.Fatalf("Publish: got %v, want no error", err)
			}
		}
	}
	waitFor(t, fmt.Sprint(want), func() string { return fmt.Sprint(a.Stats().Rejected) })
	a.expect("a ready 1, ")
}

// counter is a command that returns fields, and changes something.
func counter(name string, n int) shell.Command {
	return shell.Command{Name: name, Role: shell.Operator, Changes: true, MaxArgs: 2, Flags: []shell.Flag{{Name: "yes"}},
		Run: func(_ context.Context, c *shell.Call) error {
			if c.Flags["yes"] == "" {
				return shell.Usage("add --yes")
			}
			c.Return(shell.Fields{{Key: "n", Title: "Number", Value: n}, {Key: "args", Value: strings.Join(c.Args, " ")}})
			return nil
		}}
}

// rows is a command that returns a table, as connections does.
func rows(ages ...time.Duration) shell.Command {
	return shell.Command{Name: "connections", Role: shell.Viewer, MaxArgs: -1,
		Flags: []shell.Flag{{Name: "sort", Value: "KEY"}, {Name: "reverse"}, {Name: "limit", Value: "N"}, {Name: "offset", Value: "N"}},
		Run: func(_ context.Context, c *shell.Call) error {
			t := shell.Table{Columns: []shell.Column{{Key: "id"}, {Key: "age", Title: "AGE", Kind: shell.KindDuration}, {Key: "read", Kind: shell.KindBytes}, {Key: "labels"}}}
			for i, age := range ages {
				t.Rows = append(t.Rows, []any{i + 1, age, shell.Bytes(i), labels{"user": "\x1b"}})
			}
			t.Total = len(ages) + 10
			c.Return(t)
			return nil
		}}
}

// A command runs at another node, with the name and the role of the operator in its audit log, and
// its errors and an unknown command say where.
func TestCommandAtNode(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a", counter("kill", 1), counter("end", 1)), newNode(t, "b", counter("kill", 2))
	a.expect("a ready 1, b ready 1, ")
	flags := map[string]string{"node": "b", "yes": "true"}
	got, err := a.run(t.Context(), "kill", []string{"x", "y"}, flags)
	if diff := cmp.Diff(shell.Fields{{Key: "n", Title: "Number", Value: int64(2)}, {Key: "args", Value: "x y"}}, got); diff != "" || err != nil {
		t.Errorf("result (-want +got):\n%sand error %v, want none", diff, err)
	}
	if len(flags) != 2 {
		t.Errorf("flags of the call, which the audit log shows: got %v, want both", flags)
	}
	e := b.audit[0]
	if got, want := fmt.Sprint(e.User.Name, "|", e.User.Role, "|", e.Remote, "|", e.Line), "ann via node b"; got != strings.Replace(want, "b", "a", 1)+"|operator|192.0.2.1:5|kill --yes x y" {
		t.Errorf("audit: got %q", got)
	}
	for _, tt := range []struct{ command, node, want string }{
		{"kill", "b", "node b: add --yes"},
		{"end", "b", `node b: unknown command "end"; its version is v1`},
		{"kill", "c", `no node "c"; nodes: a, b`},
		{"kill", "a", "add --yes"},
	} {
		_, err := a.run(t.Context(), tt.command, nil, map[string]string{"node": tt.node})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s --node %s: got error %v, want %q", tt.command, tt.node, err, tt.want)
		}
	}
	b.Close()
	a.expect("a ready 1, b stopped 0, ")
	if _, err := a.run(t.Context(), "kill", nil, flags); err == nil || err.Error() != "node b: the node is not connected" {
		t.Errorf("command at a stopped node: got error %v, want one that it is not connected", err)
	}
}

// A viewer at one node is a viewer at another one, and a role that is not known is refused.
func TestRoles(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a", counter("kill", 1)), newNode(t, "b", counter("kill", 2), counter("dashboard", 3))
	a.expect("a ready 1, b ready 1, ")
	viewer := func(inv *shell.Invocation) { inv.User.Role = shell.Viewer }
	_, err := a.run(t.Context(), "kill", nil, map[string]string{"node": "b", "yes": "true"}, viewer)
	if e := new(shell.Error); !errors.As(err, &e) || e.Code != shell.CodeDenied {
		t.Errorf("kill by a viewer: got error %v, want one with the code denied", err)
	}
	for _, tt := range []struct{ role, command, want string }{
		{"viewer", "kill", shell.CodeDenied},
		{"guest", "kill", shell.CodeUsage},
		{"root", "kill", shell.CodeUsage},
		{"operator", "dashboard", shell.CodeUnknown}, // which has no flag --node
	} {
		p := b.request(request{Node: "a", Command: tt.command, Role: tt.role})
		if p.Error == nil || p.Error.Code != tt.want {
			t.Errorf("%s as %s: got answer %+v, want an error with code %s", tt.command, tt.role, p, tt.want)
		}
	}
}

// request sends a request that no node sends, and returns the last part of the answer.
func (n *testNode) request(r request) (p part) {
	n.t.Helper()
	nc := connect(n.t)
	r.ID = rand.Text()
	body, err := json.Marshal(r)
	if err != nil {
		n.t.Fatal(err)
	}
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err == nil {
		err = nc.PublishRequest(n.subject(requests, n.opts.Name), inbox, body)
	}
	if err != nil {
		n.t.Fatalf("request: got %v, want no error", err)
	}
	for p.Error == nil && p.Result == nil {
		m, err := sub.NextMsg(20 * time.Second)
		if err == nil {
			err = json.Unmarshal(m.Data, &p)
		}
		if err != nil {
			n.t.Fatalf("request %s: got error %v, want an answer", r.Command, err)
		}
	}
	return p
}

// Of two nodes with the same name, the one with the latest heartbeat runs a command.
func TestOneInstance(t *testing.T) {
	t.Parallel()
	first, second := newNode(t, "b", counter("kill", 1)), newNode(t, "b", counter("kill", 2))
	r := request{Node: "a", Command: "kill", Role: "operator", Flags: map[string]string{"yes": "true"}}
	for _, n := range []*testNode{first, second, second} {
		r.Instance = n.instance
		if p := n.request(r); p.Error != nil {
			t.Errorf("request: got error %v, want none", p.Error)
		}
	}
	if a, b := first.Stats().Served, second.Stats().Served; a != 1 || b != 2 {
		t.Errorf("served: got %d and %d, want 1 and 2", a, b)
	}
}

// The rows of all nodes are merged in the order of the command, and cut to the page. A node that
// does not answer is named.
func TestCommandAtAllNodes(t *testing.T) {
	t.Parallel()
	a := newNode(t, "a", rows(5*time.Second, 2*time.Second))
	b := newNode(t, "b", rows(4*time.Second, 3*time.Second))
	old := newNode(t, "old")
	a.expect("a ready 1, b ready 1, old ready 3, ")
	for _, tt := range []struct{ flags, want string }{
		{"", "a1 b1 b2 a2 of 24"},
		{"reverse=true", "a2 b2 b1 a1 of 24"},
		{"sort=bytes", "a2 b2 a1 b1 of 24"},
		{"offset=1 limit=2", "b1 b2 of 24"},
		{"offset=100", "of 24"},
		{"offset=999 limit=2", "error"},
		{"limit=0", "error"},
	} {
		flags := map[string]string{"node": "all"}
		for f := range strings.FieldsSeq(tt.flags) {
			name, value, _ := strings.Cut(f, "=")
			flags[name] = value
		}
		var out strings.Builder
		v, err := a.run(t.Context(), "connections", nil, flags, func(inv *shell.Invocation) { inv.Out = &out })
		got := "error"
		if err == nil {
			table := v.(shell.Table)
			got = ""
			for _, row := range table.Rows {
				got += fmt.Sprint(row[0], row[1], " ")
			}
			got += fmt.Sprint("of ", table.Total)
			if want := "no answer of node old: unknown command"; !strings.HasPrefix(out.String(), want) {
				t.Errorf("%s: got output %q, want %q", tt.flags, out.String(), want)
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s and error %v, want %s", tt.flags, got, err, tt.want)
		}
	}
	_, _ = b, old
}

// A command that changes something and fails at one node fails, and says where it was done. Fields
// are rows.
func TestChangesAtAllNodes(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a", counter("kill", 1)), newNode(t, "b", counter("kill", 2))
	a.expect("a ready 1, b ready 1, ")
	flags := map[string]string{"node": "all", "yes": "true"}
	got, err := a.run(t.Context(), "kill", []string{"x"}, flags)
	want := shell.Table{Total: 2, Rows: [][]any{{"a", int64(1), "x"}, {"b", int64(2), "x"}},
		Columns: []shell.Column{{Key: "node", Title: "NODE"}, {Key: "n", Title: "NUMBER"}, {Key: "args", Title: "ARGS"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("result (-want +got):\n%sand error %v, want none", diff, err)
	}
	if len(b.audit) != 1 || len(a.audit) != 0 { // that of a is made by its shell
		t.Errorf("audit: got %d entries at a and %d at b, want 0 and 1", len(a.audit), len(b.audit))
	}
	b.Close()
	a.expect("a ready 1, b stopped 0, ")
	if _, err := a.run(t.Context(), "kill", nil, flags); err == nil || err.Error() != "node b: it is stopped\ndone at a" {
		t.Errorf("one node is stopped: got error %v, want one that says so", err)
	}
}

// Output and frames arrive while a command runs, its client can cancel it, and texts of other nodes are
// escaped.
func TestStreams(t *testing.T) {
	t.Parallel()
	cause := make(chan error, 1)
	c := shell.Command{Name: "drain", Role: shell.Operator, MaxArgs: 1, Flags: []shell.Flag{{Name: "watch"}},
		Run: func(ctx context.Context, c *shell.Call) error {
			fmt.Fprintf(c.Out, "%v \x1b[1m\xff", c.Args)
			c.Frame(shell.Table{Columns: []shell.Column{{Key: "k", Title: "\x1b"}}, Rows: [][]any{{shell.Share(0.5)}}})
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return context.Cause(ctx)
		}}
	a, b := newNode(t, "a", c), newNode(t, "b", c)
	a.expect("a ready 1, b ready 1, ")
	ctx, cancel := context.WithCancelCause(t.Context())
	var out strings.Builder
	var frame any
	_, err := a.run(ctx, "drain", nil, map[string]string{"node": "b"}, func(inv *shell.Invocation) {
		inv.Out = &out
		inv.Frame = func(v any) error { frame = v; cancel(shell.ErrCancelled); return nil }
	})
	if e := new(shell.Error); !errors.As(err, &e) || !strings.Contains(e.Message, "cancelled") {
		t.Errorf("got error %v, want that it was cancelled", err)
	}
	if got := <-cause; got != shell.ErrCancelled {
		t.Errorf("cause at b: got %v, want %v", got, shell.ErrCancelled)
	}
	if got, want := out.String(), "[all] \\u001b[1m\ufffd"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
	want := shell.Table{Columns: []shell.Column{{Key: "k", Title: `\u001b`, Kind: shell.KindShare}}, Rows: [][]any{{shell.Share(0.5)}}}
	if diff := cmp.Diff(want, frame); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
	// Output that nobody can receive cancels the command.
	broken := func(inv *shell.Invocation) { inv.Out = outFunc(func(string) error { return io.ErrClosedPipe }) }
	if _, err := a.run(t.Context(), "drain", nil, map[string]string{"node": "b"}, broken); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
		t.Errorf("output that fails: got error %v, want %v", err, io.ErrClosedPipe)
	}
	if got := <-cause; got != shell.ErrCancelled {
		t.Errorf("cause at b: got %v, want %v", got, shell.ErrCancelled)
	}
	go a.run(t.Context(), "drain", nil, map[string]string{"node": "b"})
	waitFor(t, "3", func() string { return fmt.Sprint(b.Stats().Served) })
	b.Close() // ends the command
	if got := <-cause; got != errClosed {
		t.Errorf("cause at b: got %v, want %v", got, errClosed)
	}
}

// A panic, and an answer that is too long, cost one request only.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	bad := shell.Command{Name: "stats", MaxArgs: 1, Run: func(_ context.Context, c *shell.Call) error {
		if len(c.Args) == 0 {
			panic("a fault")
		}
		c.Return(strings.Repeat("x", 2<<20))
		return nil
	}}
	a, b := newNode(t, "a", bad), newNode(t, "b", bad, counter("end", 1))
	a.expect("a ready 1, b ready 1, ")
	_, err := a.run(t.Context(), "stats", nil, map[string]string{"node": "b"})
	if err == nil || err.Error() != "node b: internal error" {
		t.Errorf("a panic: got error %v, want an internal error", err)
	}
	_, err = a.run(t.Context(), "stats", []string{"x"}, map[string]string{"node": "b"})
	if err == nil || !strings.Contains(err.Error(), "the answer exceeds 1048576 bytes") {
		t.Errorf("a long answer: got error %v, want one about its size", err)
	}
	if got := b.Stats().Served; got != 2 {
		t.Errorf("served: got %d, want 2", got)
	}
}

// nodes --wait waits for nodes and copies of streams, and says what is missing.
func TestWait(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a"), newNode(t, "b")
	a.expect("a ready 1, b ready 1, ")
	b.set(Degraded, "no stream", 0)
	a.expect("a ready 1, b degraded 0, ")
	for names, want := range map[string]string{
		"a": "", "": "node b is degraded (no stream)", "b": "node b is degraded (no stream)", "a c": `no node "c"; nodes: a, b`,
	} {
		_, err := a.run(t.Context(), "nodes", strings.Fields(names), map[string]string{"wait": "0s"})
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) && !strings.HasPrefix(got, want) {
			t.Errorf("nodes %s --wait 0s: got error %v, want %q", names, err, want)
		}
	}
	progress := outFunc(func(p string) error {
		if !strings.HasPrefix(p, "waiting: node b is degraded") {
			t.Errorf("output: got %q, want what is missing", p)
		}
		b.set(Ready, "", 0)
		return nil
	})
	v, err := a.run(t.Context(), "nodes", nil, map[string]string{"wait": "1m"}, func(inv *shell.Invocation) { inv.Out = progress })
	if err != nil || len(v.(shell.Table).Rows) != 2 {
		t.Errorf("nodes --wait: got %v and error %v, want two rows", v, err)
	}
	c := a.commands["nodes"]
	if got := c.Complete(t.Context(), nil, []string{""}); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("Complete: got %v, want the names of the nodes", got)
	}
}

type outFunc func(string) error

func (f outFunc) Write(p []byte) (int, error) { return len(p), f(string(p)) }

// A small answer cannot make a node allocate much, nor pretend to be of another node.
func TestHostileTables(t *testing.T) {
	t.Parallel()
	columns := "[" + strings.Repeat("{},", 999) + "{}]"
	rows := "[" + strings.Repeat("{},", 99_999) + "{}]"
	if v, err := parseResult([]byte(`{"result":` + rows + `,"columns":` + columns + `}`)); err == nil || !strings.Contains(err.Error(), "100000 rows of 1000 columns") {
		t.Errorf("a table of empty rows: got %T and error %v, want an error", v, err)
	}
	wide := answer{node: "a", value: shell.Table{Columns: make([]shell.Column, 2000)}}
	for i := range 2000 {
		wide.value.(shell.Table).Columns[i].Key = fmt.Sprint(i)
	}
	long := answer{node: "b", value: shell.Table{Rows: make([][]any, 1000)}}
	if _, err := merge([]answer{wide, long}, page{}); err != errTooLarge {
		t.Errorf("a wide and a long table: got error %v, want %v", err, errTooLarge)
	}
	got, err := merge([]answer{{node: "a", value: shell.Fields{{Key: "node", Value: "b"}, {Key: "n", Value: 1}}}}, page{})
	if diff := cmp.Diff([][]any{{"a", 1}}, got.Rows); diff != "" || err != nil {
		t.Errorf("rows (-want +got):\n%sand error %v, want none", diff, err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := New(nil, Options{Name: "a b", Prefix: "a.b", Version: strings.Repeat("x", 257)})
	for _, field := range []string{"Name", "State, Load", "Prefix", "Version"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("New: got error %v, want one about %s", err, field)
		}
	}
}
