//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	topics "goranch/protocol/pubsub/client"
	shell "goranch/protocol/shell/client"
)

// freePorts returns addresses of loopback whose ports are free.
func freePorts(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
	}
	return all
}

// clusterNode is a node in its own process.
type clusterNode struct {
	*process
	name  string
	admin string // address of the operators' shell
	args  []string
}

const clusterListeners = `
[[listener]]
name = "topics"
address = "tcp://127.0.0.1:0"
protocol = "topics"

[[listener]]
name = "shell"
address = "tcp://127.0.0.1:0"
protocol = "shell"
`

// newClusterNode writes the configuration of a node.
func newClusterNode(t *testing.T, name, listen string, peers []string, more string) *clusterNode {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "ranchd.toml")
	text := fmt.Sprintf("%s\n[cluster]\nname = %q\nlisten = %q\npeers = [\"%s\"]\nstore = %q\n%s", clusterListeners, name, listen, strings.Join(peers, `", "`),
		filepath.Join(dir, "cluster"), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := "unix:" + filepath.Join(dir, "admin.sock")
	return &clusterNode{name: name, admin: admin, args: []string{"--config", file, "--admin", admin, "--admin-http", "none", "--log-format", "json", "--quiet"}}
}

// run starts the node.
func (n *clusterNode) run(t *testing.T, bin string) {
	t.Helper()
	n.process = startProcess(t, bin, n.args...)
	p := n.process
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of node %s:\n%s", n.name, &p.log)
		}
	})
}

// ready waits until the cluster is ready.
func (n *clusterNode) ready(t *testing.T) { t.Helper(); n.log.event(t, "cluster ready", nil) }

// Three nodes share topics and sessions. One that is killed comes back, and the others go on.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: run without -short")
	}
	t.Parallel()
	bin := buildProgram(t)
	ports := freePorts(t, 3)
	nodes := map[string]*clusterNode{}
	for i, name := range []string{"a", "b", "c"} {
		nodes[name] = newClusterNode(t, name, ports[i], ports, "")
		nodes[name].run(t, bin)
	}
	for _, n := range nodes {
		n.ready(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
	defer cancel()
	client := func(node, token string) *topics.Client {
		t.Helper()
		c, err := topics.Dial(ctx, topics.Options{Addr: nodes[node].log.addr(t, "topics"), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	publish := func(c *topics.Client, id string) pubsub.Published {
		t.Helper()
		for {
			p, err := c.PublishKey(ctx, "key-"+id, "news", "e", id, nil)
			if err == nil {
				return p
			}
			if ctx.Err() != nil {
				t.Fatalf("publish %s: %v", id, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	want := func(s *topics.Subscription, id string, p pubsub.Published) {
		t.Helper()
		select {
		case m := <-s.C():
			if m.ID != id || m.Offset != p.Position.Offset {
				t.Fatalf("message: got %s at %d, want %s at %d", m.ID, m.Offset, id, p.Position.Offset)
			}
		case <-ctx.Done():
			t.Fatalf("message %s: got none", id)
		}
	}
	a, b := client("a", ""), client("b", "")
	sub, err := a.Subscribe(ctx, "news", topics.SubscribeOptions{Since: &pubsub.Position{}})
	if err != nil {
		t.Fatal(err)
	}
	want(sub, "1", publish(b, "1"))

	// Sessions move to another node.
	sh, err := shell.Dial(ctx, shell.Options{Addr: nodes["a"].log.addr(t, "shell")})
	if err == nil {
		defer sh.Close()
		_, err = sh.Call(ctx, "set colour blue")
	}
	if err != nil {
		t.Fatal(err)
	}
	moved, err := shell.Dial(ctx, shell.Options{Addr: nodes["c"].log.addr(t, "shell"), Session: sh.Session()})
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Close()
	if answer, err := moved.Call(ctx, "get colour"); err != nil || string(answer.Result) != `"blue"` {
		t.Errorf("shell session at c: got %v and %v, want blue", answer, err)
	}

	nodes["c"].cmd.Process.Kill()
	<-nodes["c"].done
	want(sub, "2", publish(b, "2"))
	nodes["c"].run(t, bin)
	nodes["c"].ready(t)
	c := client("c", "")
	late, err := c.Subscribe(ctx, "news", topics.SubscribeOptions{History: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} {
		if m := <-late.C(); m.ID != id {
			t.Errorf("history at c: got %s, want %s", m.ID, id)
		}
	}
	want(sub, "3", publish(c, "3"))
	testOperators(t, bin, nodes)
	for _, name := range []string{"a", "b"} { // a majority is needed to save the sessions
		nodes[name].cmd.Process.Signal(os.Interrupt)
		nodes[name].wantExit(t, 0)
	}
}
