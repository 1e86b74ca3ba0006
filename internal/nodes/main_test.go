package nodes

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"goranch/protocol/shell"
)

// engine is the NATS server of all tests, which have different prefixes. It starts with the first.
var engine = sync.OnceValue(func() *server.Server {
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		panic("NATS: got no server within 30 s, want one")
	}
	return s
})

func TestMain(m *testing.M) {
	beatInterval, stateInterval, answerDelay, aliveInterval, duplicateAfter = 100*time.Millisecond, 10*time.Millisecond, time.Millisecond, 10*time.Millisecond, time.Millisecond
	code := m.Run()
	engine().Shutdown()
	engine().WaitForShutdown()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(engine()))
	if err != nil {
		t.Fatalf("Connect: got %v, want no error", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// testNode is a node with what it has logged for audit.
type testNode struct {
	*Nodes
	t        testing.TB
	commands map[string]shell.Command

	mu     sync.Mutex
	state  State
	reason string
	load   Load
	audit  []shell.AuditEntry
}

// newNode returns a node of the cluster of the test.
func newNode(t testing.TB, name string, commands ...shell.Command) *testNode {
	t.Helper()
	n := &testNode{t: t, state: Ready, load: Load{Connections: len(name)}, commands: map[string]shell.Command{}}
	var err error
	n.Nodes, err = New(connect(t), Options{
		Name: name, Prefix: fmt.Sprintf("%.32s", t.Name()), Version: "v1", Commands: commands,
		State: func() (State, string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.state, n.reason
		},
		Load: func() Load {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.load
		},
		Audit: func(e shell.AuditEntry) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.audit = append(n.audit, e)
		},
		Synced: func(context.Context) error { return nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatalf("New, Start: got %v, want no error", err)
	}
	t.Cleanup(n.Close)
	for _, c := range n.Nodes.Commands(commands) {
		n.commands[c.Name] = c
	}
	return n
}

func (n *testNode) set(s State, reason string, connections int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state, n.reason, n.load.Connections = s, reason, connections
}

// expect waits until the node sees others, each with its state.
func (n *testNode) expect(want string) {
	n.t.Helper()
	waitFor(n.t, want, func() string {
		got := ""
		for _, node := range n.List() {
			got += fmt.Sprintf("%s %s %d, ", node.Name, node.State, node.Connections)
		}
		return got
	})
}

// run runs a command as an operator.
func (n *testNode) run(ctx context.Context, name string, args []string, flags map[string]string, more ...func(*shell.Invocation)) (any, error) {
	inv := shell.Invocation{
		Args: args, Flags: flags, User: shell.User{Name: "ann", Role: shell.Operator}, Remote: remoteAddr("192.0.2.1:5"),
	}
	for _, f := range more {
		f(&inv)
	}
	c := n.commands[name]
	return c.Invoke(ctx, inv)
}

func waitFor(t testing.TB, want string, get func() string) {
	t.Helper()
	got := get()
	for deadline := time.Now().Add(20 * time.Second); got != want; got = get() {
		if time.Now().After(deadline) {
			t.Fatalf("within 20 s: got %q, want %q", got, want)
		}
		time.Sleep(time.Millisecond)
	}
}
