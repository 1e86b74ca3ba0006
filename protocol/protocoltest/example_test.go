package protocoltest_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/protocoltest"
)

// greeter is the handler under test.
type greeter struct{ name string }

func (g *greeter) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	switch what, rest, _ := strings.Cut(string(frame), " "); what {
	case "name":
		g.name = rest
		p.Send([]byte("hello, " + g.name))
	case "quit":
		return protocol.Stop()
	}
	return protocol.Continue()
}

func (g *greeter) HandleMessage(p *protocol.Peer, msg any) protocol.Action {
	p.Send(fmt.Appendf(nil, "%s: %v", g.name, msg))
	return protocol.Continue()
}

func (g *greeter) HandleTick(p *protocol.Peer) protocol.Action {
	p.Send([]byte("ping"))
	return protocol.Continue()
}

func (g *greeter) HandleShutdown(p *protocol.Peer) { p.Send([]byte("bye")) }

func newGreeter() protocol.Handler { return new(greeter) }

var options = protocol.Options{Codec: protocol.Lines{}, Tick: time.Minute, ReadTimeout: time.Hour}

func TestGreeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := protocoltest.Open(t, newGreeter, options)
		h.Send("name Ada")
		h.Expect("hello, Ada")
		h.Post("a message")
		h.Expect("Ada: a message")
		h.Advance(2*time.Minute + 10*time.Second)
		h.Expect("ping", "ping")
		h.ExpectNothing()
		h.Shutdown()
		h.Expect("bye")
		h.ExpectEnd(conns.Shutdown)
	})
}

// A connection that fails after 12 bytes.
func ExampleNewFlaky() {
	a, b := net.Pipe()
	go func() {
		nc := protocoltest.NewFlaky(a, protocoltest.FlakyOptions{WriteBytes: 12, Most: 5})
		n, err := io.WriteString(nc, "hello, hello, hello")
		fmt.Println(n, err)
		nc.Close()
	}()
	got, err := io.ReadAll(b)
	fmt.Println(string(got), err)
	// Output:
	// 12 the connection is flaky
	// hello, hello <nil>
}
