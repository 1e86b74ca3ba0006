package ranch_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// A client that takes one long write slowly but steadily is not idle, whatever writes it.
func TestProgressInsideAWriteIsNotIdle(t *testing.T) {
	const size = 192 << 10
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	tcp := transport.TCP{WriteBuffer: 8 << 10}
	for name, c := range map[string]struct {
		t     transport.Transport
		serve func(ctx context.Context, conn *transport.Conn) error
	}{
		"Write": {tcp, func(_ context.Context, conn *transport.Conn) error {
			_, err := conn.Write(make([]byte, size))
			return err
		}},
		"Write over TLS": {transport.TLS{TCP: tcp, Config: testTLSConfig()}, func(_ context.Context, conn *transport.Conn) error {
			_, err := conn.Write(make([]byte, size))
			return err
		}},
		"SendFile": {tcp, func(_ context.Context, conn *transport.Conn) error {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = conn.SendFile(f, 0, 0, 0)
			return err
		}},
		"in memory": {new(transport.Mem), func(_ context.Context, conn *transport.Conn) error {
			_, err := conn.Write(make([]byte, size))
			return err
		}},
		"queue of a handler": {tcp, protocol.Handle(func() protocol.Handler { return &sender{size: size} }, protocol.Options{}).Serve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for limit := 400 * time.Millisecond; ; limit *= 2 {
				l, rec := startListener(t, c.t, ranch.Options{Addr: addrOf(c.t), HandshakeTimeout: testTimeout, ShutdownTimeout: ranch.BrutalKill, Limits: conns.Limits{
					IdleTimeout: limit, WriteTimeout: limit,
				}}, protocol.Func(c.serve))
				nc := dialSlowly(t, c.t, l)
				got, longest := readSlowly(nc, size, limit/4)
				if got == size {
					return
				}
				why := rec.wait(t, ranch.ConnEnded, 1)[0].Reason
				if longest < limit/2 || limit > testTimeout/20 { // a client that is late is idle, on a busy machine
					t.Fatalf("got %d bytes, want %d; ended: %v", got, size, why)
				}
				nc.Close()
				l.Stop()
			}
		})
	}
}

// readSlowly reads size bytes in 16 pieces with pauses. It returns how many it has read, and the
// longest time between two reads that ended.
func readSlowly(nc net.Conn, size int, pause time.Duration) (got int, longest time.Duration) {
	last := time.Now()
	for p := make([]byte, size/16); got < size; {
		n, err := io.ReadFull(nc, p)
		got += n
		longest, last = max(longest, time.Since(last)), time.Now()
		if err != nil {
			break
		}
		time.Sleep(pause)
	}
	return got, longest
}

type sender struct{ size int }

func (s *sender) HandleConnect(p *protocol.Peer) protocol.Action {
	p.Send(make([]byte, s.size))
	return protocol.Continue()
}

func (*sender) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Continue() }

func addrOf(t transport.Transport) string {
	if t.Name() == "mem" {
		return "a"
	}
	return "127.0.0.1:0"
}

// dialSlowly connects with a small receive buffer.
func dialSlowly(t *testing.T, tr transport.Transport, l *ranch.Listener) net.Conn {
	t.Helper()
	small := transport.TCP{ReadBuffer: 4 << 10}
	switch tr.(type) {
	case transport.TCP:
		tr = small
	case transport.TLS:
		tr = transport.TLS{TCP: small, Config: testTLSConfig()}
	}
	nc, err := tr.Dial(t.Context(), dialAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}
