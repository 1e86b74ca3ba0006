//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/internal/clustertest"
	"goranch/protocol/pubsub"
	topics "goranch/protocol/pubsub/client"
	shell "goranch/protocol/shell/client"
)

// clusterNode is a node in its own process.
type clusterNode struct {
	*process
	name  string
	admin string // address of the operators' shell
	args  []string
	env   []string // besides that of the test
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
	p := &process{cmd: exec.Command(bin, n.args...)}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), n.env...), &p.out, &p.log
	p.start(t)
	n.process = p
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of node %s:\n%s", n.name, &p.log)
		}
	})
}

// ready waits until the cluster is ready.
func (n *clusterNode) ready(t *testing.T) { t.Helper(); n.log.event(t, "cluster ready", nil) }

// topicsClient returns a client of topics.
func topicsClient(t *testing.T, addr string) *topics.Client {
	t.Helper()
	c, err := topics.Dial(t.Context(), topics.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Three nodes share topics and sessions. One that is killed comes back, and the others go on.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: run without -short")
	}
	t.Parallel()
	bin := buildProgram(t)
	ports := clustertest.FreeAddresses(t, 3)
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
	client := func(node string) *topics.Client { return topicsClient(t, nodes[node].log.addr(t, "topics")) }
	publish := func(c *topics.Client, topic, id string) pubsub.Published {
		t.Helper()
		for {
			p, err := c.PublishKey(ctx, "key-"+id, topic, "e", id, nil)
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
	a, b := client("a"), client("b")
	testTopicsSession(t, ctx, nodes["a"].log.addr(t, "topics"), nodes["c"].log.addr(t, "topics"), func(id string) { publish(b, "moved", id) })
	sub, err := a.Subscribe(ctx, "news", topics.SubscribeOptions{Since: &pubsub.Position{}})
	if err != nil {
		t.Fatal(err)
	}
	want(sub, "1", publish(b, "news", "1"))

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
	want(sub, "2", publish(b, "news", "2"))
	nodes["c"].run(t, bin)
	nodes["c"].ready(t)
	c := client("c")
	late, err := c.Subscribe(ctx, "news", topics.SubscribeOptions{History: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} {
		if m := <-late.C(); m.ID != id {
			t.Errorf("history at c: got %s, want %s", m.ID, id)
		}
	}
	want(sub, "3", publish(c, "news", "3"))
	testOperators(t, bin, nodes)
	for _, name := range []string{"a", "b"} { // a majority is needed to save the sessions
		nodes[name].cmd.Process.Signal(os.Interrupt)
		nodes[name].wantExit(t, 0)
	}
}

// testTopicsSession resumes a session of topics at another node than the one that has it, from
// whose position it misses a message.
func testTopicsSession(t *testing.T, ctx context.Context, first, second string, publish func(id string)) {
	t.Helper()
	before, err := topics.Dial(ctx, topics.Options{Addr: first})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := before.Subscribe(ctx, "moved", topics.SubscribeOptions{Since: &pubsub.Position{}})
	if err != nil {
		t.Fatal(err)
	}
	publish("seen")
	if m, err := sub.Next(ctx); err != nil || m.ID != "seen" {
		t.Fatalf("message at the first node: got %q and error %v, want seen", m.ID, err)
	}
	position := sub.Position()
	before.Close()
	publish("missed")
	connected := make(chan topics.ConnectInfo, 1)
	after, err := topics.Dial(ctx, topics.Options{Addr: second, Token: before.Token(), OnConnect: func(i topics.ConnectInfo) { connected <- i }})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if i := <-connected; !i.Resumed {
		t.Errorf("session at the second node: got %+v, want it resumed", i)
	}
	sub, err = after.Subscribe(ctx, "moved", topics.SubscribeOptions{Since: &position})
	if err != nil {
		t.Fatal(err)
	}
	publish("next")
	for _, want := range []string{"missed", "next"} {
		if m, err := sub.Next(ctx); err != nil || m.ID != want {
			t.Errorf("message at the second node: got %q and error %v, want %q", m.ID, err, want)
		}
	}
	if got := after.Stats().Gaps; got != 0 {
		t.Errorf("gaps: got %d, want none", got)
	}
}

// get returns the body of a response of the operators' HTTP server.
func (p *process) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + p.log.addr(t, "admin-http") + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A node alone says that it is, needs a restart for other settings, refuses an upgrade, and keeps
// its sessions and topics.
func TestClusterNodeAlone(t *testing.T) {
	t.Parallel()
	bin, dir := buildProgram(t), t.TempDir()
	file := filepath.Join(dir, "ranchd.toml")
	write := func(table string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(clusterListeners+"[cluster]\n"+table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const alone = "name = 'a'\n"
	write(alone)
	args := []string{"--config", file, "--state", dir, "--admin", "none", "--admin-http", "127.0.0.1:0", "--log-format", "json"}
	p := startProcess(t, bin, args...)
	p.log.event(t, "cluster ready", nil)
	write(alone + "sync-interval = '5s'\nreplicas = 2\n") // which fits no node alone
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.log.event(t, "configuration is invalid; nothing was changed", nil)
	write("name = 'b'\nsync-interval = '5s'\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	for key, after := range map[string]string{"name": "b", "sync-interval": "5s"} {
		p.log.event(t, "configuration changed", map[string]any{"key": "cluster." + key, "after": after, "effect": "needs a restart"})
	}
	write(alone)
	const about = "a single node: topics and sessions have 1 copy, and are lost with its disk"
	p.out.line(t, "the cluster", func(line string) bool { return line == "Node a of a cluster: "+about+"." })
	for path, want := range map[string]string{"/readyz?verbose": "[+] cluster: ok", "/status": `"cluster":"ready; 1 node: 1 ready"`, "/metrics": "goranch_cluster_ready 1"} {
		if got := p.get(t, path); !strings.Contains(got, want) {
			t.Errorf("%s: got\n%s\nwant %s", path, got, want)
		}
	}
	publish := func(want uint64) {
		t.Helper()
		c := topicsClient(t, p.log.addr(t, "topics"))
		defer c.Close()
		got, err := c.PublishKey(t.Context(), fmt.Sprint(want), "news", "e", "", nil)
		if err != nil || got.Position.Offset != want {
			t.Errorf("publish: got %+v and %v, want offset %d", got, err, want)
		}
	}
	publish(1)
	p.cmd.Process.Signal(syscall.SIGUSR2)
	p.log.event(t, "upgrade refused", nil)
	publish(2)

	second := startProcess(t, bin, args...)
	second.log.event(t, "starting the cluster node failed", map[string]any{"node": "a"})
	second.wantExit(t, exitFailed)

	p.cmd.Process.Kill()
	<-p.done
	p = startProcess(t, bin, args...)
	p.log.event(t, "cluster ready", nil)
	publish(3)
	p.cmd.Process.Signal(os.Interrupt)
	p.wantExit(t, exitOK)
}

// freePortPrefix returns P such that the ports P1, P2 and P3 of loopback are free.
func freePortPrefix(t *testing.T) string {
	t.Helper()
	for range 100 {
		p, free := fmt.Sprint(1100+rand.IntN(2000)), true
		for n := range 3 {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%s%d", p, n+1))
			if err != nil {
				free = false
				continue
			}
			ln.Close()
		}
		if free {
			return p
		}
	}
	t.Fatal("got no free ports")
	return ""
}

// The commands of docs/cluster.md start three nodes.
func TestClusterPage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: run without -short")
	}
	t.Parallel()
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, ok := strings.Cut(string(page), "<!-- three nodes -->\n```sh\n")
	script, _, _ = strings.Cut(script, "```")
	if !ok {
		t.Fatal("docs/cluster.md: got no commands, want some")
	}
	script = strings.NewReplacer("127.0.0.1:808$n", "127.0.0.1:0", "127.0.0.1:760", "127.0.0.1:"+freePortPrefix(t)).Replace(script)
	bin, dir := buildProgram(t), t.TempDir()
	cmd := exec.Command("sh", "-e", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ended, w, err := os.Pipe() // which the nodes have: it ends with the last of them
	if err != nil {
		t.Fatal(err)
	}
	defer ended.Close()
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	w.Close()
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		io.Copy(io.Discard, ended)
	}()
	if err != nil {
		t.Fatalf("commands: got %v\n%s", err, out)
	}
	for _, name := range []string{"a", "b", "c"} {
		var log []byte
		for end := time.Now().Add(2 * timeout); !strings.Contains(string(log), "cluster ready"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("node %s: got log\n%s\nwant a line with cluster ready", name, log)
			}
			log, _ = os.ReadFile(filepath.Join(dir, name+".log"))
		}
	}
}
