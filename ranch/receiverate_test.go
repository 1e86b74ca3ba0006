package ranch_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

// tlsMem is TLS in memory.
type tlsMem struct{ *transport.Mem }

func (tlsMem) Name() string { return "tls" }

func (tlsMem) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	tc := tls.Server(nc, testTLSConfig())
	return tc, tc.HandshakeContext(ctx)
}

func (m tlsMem) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := m.Mem.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return tls.Client(nc, testTLSConfig()), nil
}

// A peer that keeps a message incomplete and sends less than the MinReceiveRate is ended after a
// window; others are not.
func TestMinReceiveRate(t *testing.T) {
	const rate = 1000
	trickle := func(piece string, every time.Duration) func(net.Conn) {
		return func(nc net.Conn) {
			for {
				if _, err := io.WriteString(nc, piece); err != nil {
					return
				}
				time.Sleep(every)
			}
		}
	}
	big := string(make([]byte, 20_000)) // without a line feed
	for _, c := range []struct {
		name  string
		tls   bool
		send  func(net.Conn)
		after time.Duration // at which the connection ends; 0: it does not
	}{
		{"trickle", false, trickle("x", 5*time.Second), 10 * time.Second},
		{"begins and stops", false, func(nc net.Conn) { io.WriteString(nc, "x") }, 10 * time.Second},
		{"slower than the rate", false, trickle(big[:500], time.Second), 10 * time.Second},
		{"stops after a fast start", false, func(nc net.Conn) { io.WriteString(nc, big) }, 10 * time.Second},
		{"faster than the rate", false, trickle(big[:rate/10], 98*time.Millisecond), 0},
		{"idle", false, func(nc net.Conn) { io.WriteString(nc, "x\n") }, 0},
		{"sends nothing", false, func(net.Conn) {}, 0},
		{"short messages in two parts", false, trickle("x\nx", time.Second), 0},
		{"TLS: trickle", true, trickle("x", 5*time.Second), 10*time.Second + 16384*time.Millisecond},
		{"TLS: whole records, faster than the rate", true, trickle(big[:16384], 16*time.Second), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(transport.Mem)
				var tr transport.Transport = mem
				if c.tls {
					tr = tlsMem{mem}
				}
				l, rec := startListener(t, tr, ranch.Options{Addr: "a", Limits: conns.Limits{MinReceiveRate: rate}}, newLongLines())
				nc, err := tr.Dial(testContext(t), "a")
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				defer nc.Close()
				wg.Go(func() { io.Copy(io.Discard, nc) }) // answers
				wg.Go(func() { c.send(nc) })
				const period = 50 * time.Second // in which no frame reaches its limit
				time.Sleep(period)
				switch ends := rec.ofKind(ranch.ConnEnded); {
				case c.after == 0 && len(ends) > 0:
					t.Errorf("got the end %v after %v, want none", ends[0].Reason, ends[0].Duration)
				case c.after == 0:
				case len(ends) == 0:
					t.Errorf("got no end within %v, want %v", period, conns.ReceivedTooSlowly)
				case ends[0].Reason != conns.ReceivedTooSlowly || ends[0].Duration < c.after:
					t.Errorf("got the end %v after %v, want %v after %v", ends[0].Reason, ends[0].Duration, conns.ReceivedTooSlowly, c.after)
				case c.name != "stops after a fast start" && ends[0].Duration > c.after+4*time.Second:
					t.Errorf("got the end after %v, want at most %v", ends[0].Duration, c.after+4*time.Second)
				}
				if n := l.Info().Reasons[conns.ReceivedTooSlowly]; (n > 0) != (c.after > 0) {
					t.Errorf("got %d ends for the rate, want one only if the peer is too slow", n)
				}
			})
		})
	}
}

// A callback that takes long is not a slow peer.
func TestMinReceiveRateDuringACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l, _ := startListener(t, mem, ranch.Options{Addr: "a", Limits: conns.Limits{MinReceiveRate: 1000}}, newSleepyLines(time.Minute))
		c := dialLines(t, mem, "a")
		io.WriteString(c, "in two ")
		synctest.Wait()
		c.wantAnswer(t, "parts", "in two parts")
		if n := l.Info().AllConnections; n != 1 {
			t.Errorf("got %d connections, want 1", n)
		}
	})
}
