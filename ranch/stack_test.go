package ranch_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// echoHandler echoes.
type echoHandler struct{}

func (echoHandler) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if err := p.Send(b); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// idleStacks is the variable that names the protocol a child process measures.
const idleStacks = "RANCH_IDLE_STACKS"

// The goroutine of an idle connection has the smallest stack, 2 KiB: one more call on the way to
// the socket may be too much. Each protocol has a process of its own, since the runtime adapts the
// initial size of stacks.
func TestIdleStacks(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs more stack")
	}
	protocols := map[string]protocol.Protocol{
		"echo":    echo.Protocol{},
		"handler": protocol.Handle(func() protocol.Handler { return echoHandler{} }, protocol.Options{}),
	}
	if p := protocols[os.Getenv(idleStacks)]; p != nil {
		if each := idleStack(t, p); each > 2500 {
			t.Errorf("got %.0f bytes of stack for an idle connection, want at most 2500", each)
		}
		return
	}
	for name := range protocols {
		cmd := exec.Command(os.Args[0], "-test.run=^TestIdleStacks$")
		cmd.Env = append(os.Environ(), idleStacks+"="+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: got %v, want nil\n%s", name, err, out)
		}
	}
}

// idleStack returns the bytes of stack of a connection after one answer of p.
func idleStack(t *testing.T, p protocol.Protocol) float64 {
	const n = 500
	l, err := new(ranch.Server).StartListener(ref, transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", Logger: discardLogger, Networks: newNetworks(t, deny("10.0.0.0/8"), deny("127.9.0.0/16"))}, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop() // no observer, which may need more stack
	before := stackInUse()
	for range n {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte("abc"))
		if _, err := io.ReadFull(nc, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
	return float64(stackInUse()-before) / n
}

func stackInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse
}
