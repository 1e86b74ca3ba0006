package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// servingNode is a node with a listener and the commands of package admin.
type servingNode struct {
	*testNode
	listener *ranch.Listener
	mem      *transport.Mem
}

func newServer(t *testing.T, name string) *servingNode {
	t.Helper()
	s := &servingNode{mem: new(transport.Mem)}
	rs := new(ranch.Server)
	var err error
	s.listener, err = rs.StartListener("echo", s.mem, ranch.Options{Addr: "echo", Logger: slog.New(slog.DiscardHandler)}, echo.Protocol{})
	if err != nil {
		t.Fatalf("StartListener: got %v, want no error", err)
	}
	t.Cleanup(func() { s.listener.Stop() })
	reload := func(context.Context) ([]admin.Change, error) { return nil, nil }
	topics := shell.Command{Name: "topics", Run: func(context.Context, *shell.Call) error { return nil }}
	s.testNode = newNode(t, name, append(admin.Commands(admin.Options{Server: rs, Reload: reload}), topics)...)
	return s
}

func (s *servingNode) dial(t *testing.T, n int) {
	t.Helper()
	nc, err := s.mem.Dial(t.Context(), "echo")
	if err != nil {
		t.Fatalf("Dial: got %v, want no error", err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.Write(make([]byte, n))
	io.ReadFull(nc, make([]byte, n))
}

// The commands of package admin show and change another node, and all nodes.
func TestAdminCommands(t *testing.T) {
	t.Parallel()
	a, b := newServer(t, "a"), newServer(t, "b")
	a.expect("a ready 1, b ready 1, ")
	a.dial(t, 2)
	b.dial(t, 1)
	b.dial(t, 1)
	b.dial(t, 3)
	run := func(name string, args []string, flags ...string) any {
		t.Helper()
		given := map[string]string{}
		for _, f := range flags {
			key, value, _ := strings.Cut(f, "=")
			given[key] = value
		}
		v, err := a.run(t.Context(), name, args, given)
		if err != nil {
			t.Fatalf("%s %v %v: got error %v, want none", name, args, flags, err)
		}
		return v
	}
	nodesOf := func(v any) string {
		var names []string
		for _, row := range v.(shell.Table).Rows {
			names = append(names, row[0].(string))
		}
		return strings.Join(names, " ")
	}
	if got, want := nodesOf(run("connections", []string{"listener=echo"}, "node=all", "sort=read")), "b a b b"; got != want {
		t.Errorf("connections --node all: got nodes %s, want %s", got, want)
	}
	table := run("connections", nil, "node=b", "limit=2").(shell.Table)
	if len(table.Rows) != 2 || table.Total != 3 || table.Columns[0].Key != "id" {
		t.Errorf("connections --node b: got %+v, want 2 of 3", table)
	}
	if got := fmt.Sprint(run("kill", []string{fmt.Sprint(table.Rows[0][0])}, "node=b")); got != "[{killed Killed 1}]" {
		t.Errorf("kill --node b: got %s, want 1", got)
	}
	if _, err := a.run(t.Context(), "kill", []string{"listener=echo"}, map[string]string{"node": "b"}); err == nil || !strings.Contains(err.Error(), "node b: listener=echo matches 2 connections; add --yes") {
		t.Errorf("kill without --yes: got error %v, want the number of connections", err)
	}
	if diff := cmp.Diff([][]any{{"a", int64(1)}, {"b", int64(2)}}, run("end", []string{"listener=echo"}, "node=all", "yes=true").(shell.Table).Rows); diff != "" {
		t.Errorf("end --node all (-want +got):\n%s", diff)
	}
	var frames int
	v, err := a.run(t.Context(), "drain", []string{"all"}, map[string]string{"node": "b", "watch": "true", "spread": "1ms"}, func(inv *shell.Invocation) {
		inv.Frame = func(any) error { frames++; return nil }
	})
	if err != nil || frames < 2 || fmt.Sprint(v.(shell.Fields)[0].Value) != "1" {
		t.Errorf("drain --node b: got %v with %d frames and error %v, want one listener and at least 2 frames", v, frames, err)
	}
	if got := b.listener.Status(); got != ranch.Stopped {
		t.Errorf("listener of b: got %s, want stopped", got)
	}
	for name, r := range routes {
		c, ok := a.commands[name]
		if !ok {
			t.Errorf("route %q: got no command, want one", name)
			continue
		}
		for _, flag := range []string{r.limit, r.unless} {
			if flag != "" && !slices.ContainsFunc(c.Flags, func(f shell.Flag) bool { return f.Name == flag }) {
				t.Errorf("route %q: got no flag %s, want one", name, flag)
			}
		}
		f := c.Flags[len(c.Flags)-1]
		if got := f.Complete(t.Context(), nil); f.Name != "node" || got[0] != "a" || slices.Contains(got, "all") == r.one {
			t.Errorf("%s: got the flag %s with completions %v, want node, with all unless it runs at one node", name, f.Name, got)
		}
	}
}

// The commands are served by HTTP, and described.
func TestHTTP(t *testing.T) {
	t.Parallel()
	a, b := newServer(t, "a"), newServer(t, "b")
	a.expect("a ready 1, b ready 1, ")
	var commands []shell.Command
	for _, c := range a.commands {
		commands = append(commands, c)
	}
	h, err := adminhttp.New(adminhttp.Options{Server: new(ranch.Server), Commands: commands, NoPage: true,
		Token: func(context.Context, *transport.Conn, string) (shell.User, error) {
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		}})
	if err != nil {
		t.Fatalf("adminhttp.New: got %v, want no error", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: h, ConnContext: h.ConnContext}
	go web.Serve(ln)
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		h.Close(context.Background())
		web.Close()
		client.CloseIdleConnections()
	})
	request := func(method, path, body string) (status int, text string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+ln.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer x")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s %s: got %v, want no error", method, path, err)
		}
		defer answer.Body.Close()
		all, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(all)
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/nodes", "", `200 {"result":[{"node":"a","state":"ready"`},
		{"POST", "/commands/nodes", `{"args":["b"]}`, `200 {"result":[{"node":"b","state":"ready"`},
		{"POST", "/commands/cap", `{"args":["echo","7"],"flags":{"node":"all"}}`, `200 {"result":[{"node":"a","listener":"echo","cap":7`},
		{"POST", "/commands/cap", `{"args":["echo","x"],"flags":{"node":"b"}}`, `400 {"error":{"message":"node b: `},
		{"GET", "/connections?node=c", "", `422 {"error":{"message":"no node \"c\"`},
	} {
		status, text := request(tt.method, tt.path, tt.body)
		if got := fmt.Sprint(status, " ", text); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %s %s: got %s, want %s", tt.method, tt.path, tt.body, got, tt.want)
		}
	}
	if got := b.listener.Info().MaxConnections; got != 7 {
		t.Errorf("cap at b: got %d, want 7", got)
	}
	_, text := request("GET", "/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("description: got %v, want JSON", err)
	}
	for _, path := range []string{"/nodes", "/commands/nodes", "/commands/kill", "/connections"} {
		operation, err := json.Marshal(doc.Paths[path])
		if want := map[string]string{"/nodes": "wait", "/commands/nodes": "wait"}[path]; err != nil || !strings.Contains(string(operation), `"node`) && want == "" || !strings.Contains(string(operation), want) {
			t.Errorf("description of %s: got %.200s, want its flags", path, operation)
		}
	}
}
