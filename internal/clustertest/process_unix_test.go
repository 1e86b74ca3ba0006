//go:build unix

package clustertest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goranch/protocol/pubsub"
)

var (
	processes = flag.Int("processes", 0, "number of schedules of faults with three processes of ranchd, which take half a minute each")
	ranchd    = flag.String("ranchd", "", "ranchd for them, instead of one that is built")
)

// process is ranchd in its own process, as a node of a cluster.
type process struct {
	c              *processes3
	i              int
	config         string
	topics, routes string // addresses

	mu  sync.Mutex
	cmd *exec.Cmd // nil: killed
	log bytes.Buffer
}

// processes3 is three processes. What they send to each other goes through proxies, unless a node
// that has come back has told the others its own address.
type processes3 struct {
	*workload
	schedule Schedule
	bin      string
	nodes    [3]*process
	links    [3][3]*Proxy
	pending  sync.WaitGroup
}

// The promises hold with real processes, which are killed, paused and cut off.
func TestProcesses(t *testing.T) {
	if *processes == 0 {
		t.Skip("SKIPPED: to run this test: go test ./internal/clustertest -run Processes -processes 3 -timeout 1h")
	}
	bin := buildRanchd(t)
	for k := range *processes {
		seed := *firstSeed + uint64(k)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runProcesses(t, bin, NewSchedule(seed, 500*time.Millisecond)) })
	}
}

// buildRanchd returns the path of the program.
func buildRanchd(t *testing.T) string {
	t.Helper()
	if *ranchd != "" {
		return *ranchd
	}
	bin := filepath.Join(t.TempDir(), "ranchd")
	if out, err := exec.Command("go", "build", "-o", bin, "goranch/cmd/ranchd").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// newProcesses starts three nodes.
func newProcesses(t *testing.T, bin string, s Schedule) *processes3 {
	c := &processes3{workload: newWorkload(t, 6*time.Second), schedule: s, bin: bin}
	c.dial = func(ctx context.Context, i int) (*Wire, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, "tcp", c.nodes[i].topics)
		if err != nil {
			return nil, err
		}
		return Open(nc)
	}
	c.setUp()
	return c
}

func runProcesses(t *testing.T, bin string, s Schedule) {
	c := newProcesses(t, bin, s)
	defer func() {
		c.close()
		if t.Failed() {
			for _, n := range c.nodes {
				t.Logf("log of node %d:\n%s", n.i, n.log.String())
			}
			t.Errorf("%vreplay: go test ./internal/clustertest -run Processes -processes 1 -seed %d -verbose", s, s.Seed)
		}
	}()
	if !c.ready() {
		return
	}
	working := c.start(s.Seed)
	for k := range 2 {
		c.publishers.Go(func() { c.resume(working, rand.New(rand.NewPCG(s.Seed, uint64(200+k)))) })
	}
	for _, a := range s.Actions {
		time.Sleep(a.After)
		c.logf("%v", a)
		c.apply(a)
	}
	c.pending.Wait()
	c.logf("everything is repaired")
	c.ready()
	c.finish(s.Seed)
	c.recordHistory()
	c.end()
	if violations := Check(c.rec.Events(), Limits{Keep: s.Keep, Restarted: s.Has(Kill, Wipe, Engine)}); len(violations) > 0 {
		t.Errorf("got %d violations, want none:\n%s", len(violations), Describe(violations, c.rec.Events()))
	}
	if *verbose {
		t.Log(Summary(c.rec.Events()))
	}
}

// setUp starts the processes.
func (c *processes3) setUp() {
	free := FreeAddresses(c.t, 6)
	for i := range c.nodes {
		c.nodes[i] = &process{c: c, i: i, topics: free[i], routes: free[3+i]}
	}
	for i, n := range c.nodes {
		peers := make([]string, 3)
		for j, other := range c.nodes {
			if peers[j] = other.routes; i != j {
				p, err := NewProxy(other.routes)
				if err != nil {
					c.t.Fatal(err)
				}
				c.links[i][j], peers[j] = p, p.Addr()
			}
		}
		dir := c.t.TempDir()
		n.config = filepath.Join(dir, "ranchd.toml")
		text := fmt.Sprintf(`
history = %d
[[listener]]
name = "topics"
address = "tcp://%s"
protocol = "topics"
[cluster]
name = "n%d"
listen = "%s"
peers = ["%s"]
store = "%s/cluster"
`, c.schedule.Keep, n.topics, i, n.routes, strings.Join(peers, `", "`), dir)
		if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		n.run()
	}
}

func (n *process) run() {
	n.mu.Lock()
	defer n.mu.Unlock()
	cmd := exec.Command(n.c.bin, "--config", n.config, "--admin", "none", "--admin-http", "none", "--quiet")
	out := &lockedBuffer{n: n}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		n.c.t.Errorf("start: got %v, want no error", err)
		return
	}
	n.cmd = cmd
}

// lockedBuffer collects the log of a node.
type lockedBuffer struct {
	n  *process
	mu sync.Mutex
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n.log.Write(p)
}

// signal sends a signal. It reports false if the process is killed.
func (n *process) signal(s syscall.Signal) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd != nil && n.cmd.Process.Signal(s) == nil
}

// kill kills the process and waits for its end. It reports false if it was killed already.
func (n *process) kill() bool {
	n.mu.Lock()
	cmd := n.cmd
	n.cmd = nil
	n.mu.Unlock()
	if cmd == nil {
		return false
	}
	cmd.Process.Kill()
	cmd.Wait()
	return true
}

func (c *processes3) close() {
	for i, n := range c.nodes {
		n.kill()
		for _, p := range c.links[i] {
			if p != nil {
				p.Close()
			}
		}
	}
}

// ready waits until all nodes accept a subscription with a position.
func (c *processes3) ready() bool {
	return c.waitFor("ready nodes", func() bool {
		for i := range c.nodes {
			if _, err := c.historyOf(i, "probe", pubsub.Position{}); err != nil {
				return false
			}
		}
		return true
	})
}

// historyOf returns the messages after a position, as a node has them.
func (c *processes3) historyOf(i int, topic string, since pubsub.Position) ([]Event, error) {
	w, err := c.dial(context.Background(), i)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	rec := NewRecorder()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	err = w.Subscribe(ctx, rec, "", topic, 1, &since)
	if events := rec.Events(); len(events) > 0 && events[0].Kind == Subscribed {
		return events[1:], nil
	}
	return nil, fmt.Errorf("node %d: %w", i, err)
}

// recordHistory records what the stream has.
func (c *processes3) recordHistory() {
	var epoch string
	for _, e := range c.rec.Events() {
		if e.Kind == Delivered {
			epoch = e.Position.Epoch
		}
	}
	for _, topic := range topicNames {
		c.waitFor("history", func() bool {
			all, err := c.historyOf(0, topic, pubsub.Position{Epoch: epoch})
			if err != nil || len(all) == 0 || all[len(all)-1].ID != "last "+topic {
				return false
			}
			for _, e := range all {
				e.Kind, e.Attachment = Stored, 0
				c.rec.Add(e)
			}
			return true
		})
	}
}

func (c *processes3) apply(a Action) {
	n := c.nodes[a.Node]
	there, back := c.links[a.Node][a.Other], c.links[a.Other][a.Node]
	after := func(f func()) {
		c.pending.Go(func() {
			time.Sleep(a.For)
			f()
		})
	}
	around := func(f func(*Proxy)) {
		for j := range c.nodes {
			if j != a.Node {
				f(c.links[a.Node][j])
				f(c.links[j][a.Node])
			}
		}
	}
	link := func() { there.Open(); back.Open() }
	switch a.Op {
	case Kill, Engine:
		if n.kill() {
			after(n.run)
		}
	case Pause:
		if n.signal(syscall.SIGSTOP) {
			after(func() { n.signal(syscall.SIGCONT) })
		}
	case Isolate:
		around((*Proxy).Cut)
		after(func() { around((*Proxy).Open) })
	case CutLink:
		there.Cut()
		back.Cut()
		after(link)
	case HalfOpen:
		there.Stall(ToTarget)
		back.Stall(FromTarget)
		after(link)
	case Slow:
		there.Delay(50 * time.Millisecond)
		back.Delay(50 * time.Millisecond)
		after(link)
	case Move, Claim:
		c.move()
	}
}

// resume makes a session with a subscription, and attaches to it at one node after the other. A
// session that has been saved must not be unknown.
func (c *processes3) resume(ctx context.Context, r *rand.Rand) {
	token := ""
	for ctx.Err() == nil {
		w, err := c.dial(ctx, r.IntN(3))
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		if token == "" {
			if err = w.request("subscribe", "session topic"); err == nil {
				token = w.token
				pause(ctx, 500*time.Millisecond) // saved within 100 ms, unless NATS is away
			}
		} else {
			err = w.request("attach", token)
		}
		w.Close()
		if errors.Is(err, errAnswer) && strings.Contains(err.Error(), "unknown") {
			c.logf("session: %v", err)
			c.rec.Add(Event{Kind: Forgotten, Session: token})
			token = ""
		} else if err == nil && token != "" {
			c.rec.Add(Event{Kind: Resumed, Session: token})
		}
		pause(ctx, time.Duration(r.IntN(200))*time.Millisecond)
	}
}
