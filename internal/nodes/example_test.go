package nodes_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"goranch/internal/nodes"
	"goranch/protocol/shell"
)

// An operator at node a runs a command at node b.
func Example() {
	engine, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		panic(err)
	}
	engine.Start()
	defer engine.WaitForShutdown()
	defer engine.Shutdown()
	var conns []*nats.Conn
	node := func(name string) (*nodes.Nodes, []shell.Command) {
		nc, err := nats.Connect("", nats.InProcessServer(engine))
		if err != nil {
			panic(err)
		}
		conns = append(conns, nc)
		status := shell.Command{Name: "status", Role: shell.Viewer, Run: func(_ context.Context, c *shell.Call) error {
			c.Return("running, says " + name + " to " + c.User.Name)
			return nil
		}}
		n, err := nodes.New(nc, nodes.Options{
			Name: name, Commands: []shell.Command{status},
			State: func() (nodes.State, string) { return nodes.Ready, "" }, Load: func() nodes.Load { return nodes.Load{} },
		})
		if err == nil {
			err = n.Start()
		}
		if err != nil {
			panic(err)
		}
		return n, n.Commands([]shell.Command{status})
	}
	a, commands := node("a")
	b, _ := node("b")
	defer a.Close()
	defer b.Close()
	for len(a.List()) < 2 {
		time.Sleep(time.Millisecond)
	}
	user := shell.User{Name: "ann", Role: shell.Viewer}
	fmt.Println(commands[0].Invoke(context.Background(), shell.Invocation{Flags: map[string]string{"node": "b"}, User: user, Remote: &net.UnixAddr{}}))
	for _, nc := range conns {
		nc.Close()
	}
	// Output: running, says b to ann via node a <nil>
}
