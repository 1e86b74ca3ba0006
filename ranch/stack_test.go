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

// echoes is the echo of callbacks.
type echoHandler struct{}

func (echoHandler) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if err := p.Send(b); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// idleStacks names what a child process is to measure.
const idleStacks = "RANCH_IDLE_STACKS"

// TestIdleStacks: the goroutine of a connection that has answered and fallen silent is to have
// the smallest stack there is, 2 KiB. A call more on the way to the socket may be one too many.
// Each protocol has a process of its own, since the runtime learns how much goroutines need.
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
			t.Errorf("%.0f bytes of stack for an idle connection", each)
		}
		return
	}
	for name := range protocols {
		cmd := exec.Command(os.Args[0], "-test.run=^TestIdleStacks$")
		cmd.Env = append(os.Environ(), idleStacks+"="+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// idleStack returns the bytes of stack of a connection that p has answered once.
func idleStack(t *testing.T, p protocol.Protocol) float64 {
	const n = 500
	l, err := new(ranch.Server).StartListener(ref, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger}, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop() // no observer: what it does may need more
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
