package ranch_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// echoes is the echo of callbacks.
type echoes struct{}

func (echoes) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if err := p.Send(b); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// TestIdleStacks: the goroutine of a connection that has answered and fallen silent is to have
// the smallest stack there is, 2 KiB. A call more on the way to the socket may be one too many.
func TestIdleStacks(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs more stack")
	}
	for name, p := range map[string]protocol.Protocol{
		"echo":    echo.Protocol{},
		"handler": protocol.Handle(func() protocol.Handler { return echoes{} }, protocol.Options{}),
		"frames": protocol.Handle(func() protocol.Handler { return echoes{} },
			protocol.Options{Codec: protocol.LengthPrefix{Size: 1}}),
	} {
		t.Run(name, func(t *testing.T) {
			const n = 500
			l, err := new(ranch.Server).StartListener(ref, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, p)
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
				msg := []byte{3, 'a', 'b', 'c'}
				nc.Write(msg)
				if _, err := io.ReadFull(nc, msg); err != nil {
					t.Fatal(err)
				}
			}
			each := float64(stackInUse()-before) / n
			t.Logf("%.0f bytes of stack each", each)
			if each > 2500 {
				t.Errorf("%.0f bytes of stack for an idle connection", each)
			}
		})
	}
}

func stackInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse
}
