package conns_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// parkHandler echoes what it receives. Its peer is kept for the test.
type parkHandler struct{ peers chan<- *protocol.Peer }

func (h parkHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.peers <- p
	return protocol.Continue()
}

func (parkHandler) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if err := p.Send(b); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// newParkHarness returns a supervisor that parks connections after 10 ms.
func newParkHarness(t *testing.T, limits conns.Limits) *harness {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux only")
	}
	h := newHarness(t, math.MaxInt, 0)
	limits.ParkAfter = 10 * time.Millisecond
	h.sup.Set(conns.Settings{Limits: limits, Grace: 10 * time.Second})
	ctx, cancel := context.WithCancel(bg)
	var wg sync.WaitGroup
	wg.Go(func() { h.sup.Monitor(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return h
}

// startParked starts a connection and waits until it is parked.
func (h *harness) startParked(base context.Context) (client *net.TCPConn, p *protocol.Peer) {
	h.Helper()
	peers := make(chan *protocol.Peer, 1)
	server, client := tcpPair(h)
	useSlots(h, h.gate, 1)
	h.sup.Start(base, transport.TCP{SendTimeout: 50 * time.Millisecond, WriteBuffer: 4096}, server,
		protocol.Handle(func() protocol.Handler { return parkHandler{peers} }, protocol.Options{}))
	p = receive(h, peers)
	h.waitParked()
	return client, p
}

// waitParked waits until no goroutine serves a connection.
func (h *harness) waitParked() {
	h.Helper()
	buf := make([]byte, 4<<20)
	for range 1000 {
		if !bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("conns.(*connection).run(")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.Fatal("got goroutines that serve connections for 10 s, want them parked")
}

// ping sends data and waits for the answer.
func ping(t testing.TB, client net.Conn) {
	t.Helper()
	client.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := client.Write([]byte("ping")); err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "ping" {
		t.Fatalf("read: got %q, %v, want ping, nil", got, err)
	}
}

// A parked connection ends once, for the same reasons as any other, and releases its slot once.
func TestParkedEnds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits conns.Limits
		do     func(h *harness, client *net.TCPConn, p *protocol.Peer)
		want   conns.Reason
	}{
		{"client closes", conns.Limits{}, func(_ *harness, client *net.TCPConn, _ *protocol.Peer) { client.Close() }, conns.PeerClosed},
		{"client resets", conns.Limits{}, func(h *harness, client *net.TCPConn, _ *protocol.Peer) { resetClient(h, client) }, conns.PeerClosed},
		{"shutdown", conns.Limits{}, func(h *harness, _ *net.TCPConn, _ *protocol.Peer) { h.shutdown() }, conns.Shutdown},
		{"shutdown at once", conns.Limits{}, func(h *harness, _ *net.TCPConn, _ *protocol.Peer) { abortServer(h, nil) }, conns.Aborted},
		{"killed", conns.Limits{}, func(h *harness, _ *net.TCPConn, _ *protocol.Peer) { killAll(h, nil) }, conns.Killed},
		{"evicted", conns.Limits{}, func(h *harness, _ *net.TCPConn, _ *protocol.Peer) {
			h.sup.Evict(conns.EvictOldest, func(int) int { return 1 })
		}, conns.Evicted},
		{"idle timeout", conns.Limits{IdleTimeout: 400 * time.Millisecond}, func(*harness, *net.TCPConn, *protocol.Peer) {}, conns.IdleTimeout},
		{"closed by the handler", conns.Limits{}, func(_ *harness, _ *net.TCPConn, p *protocol.Peer) { p.Close(nil) }, conns.Finished},
		{"removed, then closed", conns.Limits{}, func(_ *harness, client *net.TCPConn, p *protocol.Peer) {
			conns.Remove(p.Conn())
			client.Close()
			conns.Remove(p.Conn())
		}, conns.PeerClosed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newParkHarness(t, tc.limits)
			client, p := h.startParked(bg)
			tc.do(h, client, p)
			wantReason(t, h.end(), tc.want)
			h.close()
			if h.released != 1 {
				t.Errorf("got %d releases of the slot, want 1", h.released)
			}
		})
	}
}

// A write from another goroutine that exceeds the send timeout closes the socket. A parked
// connection is woken by that.
func TestParkedSendTimeout(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	_, p := h.startParked(bg)
	for b := make([]byte, 1<<20); ; {
		if _, err := p.Conn().Write(b); err != nil {
			break
		}
	}
	h.end()
	h.close()
}

// The goroutine of a woken connection has the profiler labels of its own listener.
func TestWokenProfilerLabels(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	names := []string{"one", "two"}
	var clients []net.Conn
	for _, name := range names {
		ctx := pprof.WithLabels(bg, pprof.Labels("listener", name))
		pprof.Do(ctx, pprof.Labels(), func(ctx context.Context) {
			client, _ := h.startParked(ctx)
			clients = append(clients, client)
		})
	}
	for i, name := range names {
		release := make(chan struct{})
		woken := make(chan struct{})
		id := list(h.sup)[i].ID
		stop := h.sup.Trace(conns.Trace{ID: id, Func: func(transport.TraceEvent) {
			select {
			case woken <- struct{}{}:
				<-release
			case <-release:
			}
		}})
		if _, err := clients[i].Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		receive(t, woken)
		var profile strings.Builder
		pprof.Lookup("goroutine").WriteTo(&profile, 1)
		for _, stack := range strings.Split(profile.String(), "\n\n") {
			if strings.Contains(stack, "conns.(*connection).run") && !strings.Contains(stack, `"listener":"`+name+`"`) {
				t.Errorf("connection %s: got the goroutine\n%s\nwant the label of its listener", name, stack)
			}
		}
		stop()
		close(release)
		h.waitParked()
	}
	h.close()
}

// Connections are parked and woken all the time, while some are killed, removed and evicted, until
// the supervisor stops. Each ends once and releases its slot once.
func TestParkStress(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	const n = 30
	peers := make(chan *protocol.Peer, n)
	p := protocol.Handle(func() protocol.Handler { return parkHandler{peers} }, protocol.Options{})
	var wg sync.WaitGroup
	for range n {
		server, client := tcpPair(t)
		useSlots(t, h.gate, 1)
		h.sup.Start(bg, plain, server, p)
		peer := receive(t, peers)
		wg.Go(func() {
			client.SetDeadline(time.Now().Add(20 * time.Second))
			b := make([]byte, 4)
			for i := 0; ; i++ {
				if _, err := client.Write([]byte("ping")); err != nil {
					return
				}
				if _, err := io.ReadFull(client, b); err != nil {
					return
				}
				if i == 5 && rand.IntN(3) == 0 {
					conns.Remove(peer.Conn())
				}
				time.Sleep(time.Duration(5+rand.IntN(15)) * time.Millisecond)
			}
		})
	}
	for range n / 2 {
		time.Sleep(20 * time.Millisecond)
		all := list(h.sup)
		kill(h.sup, all[rand.IntN(len(all))].ID)
		if rand.IntN(4) == 0 {
			h.sup.Evict(conns.EvictRandom, func(int) int { return 1 })
		}
		if len(all) < 6 {
			break
		}
	}
	h.close()
	wg.Wait()
	if h.released != n {
		t.Errorf("got %d releases of slots, want %d", h.released, n)
	}
}

// fdOf returns the descriptor of a connection.
func fdOf(t testing.TB, nc net.Conn) (fd uintptr) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(n uintptr) { fd = n })
	return fd
}

// A parked connection whose socket other code has closed is woken at the latest when another
// connection with the same descriptor is parked.
func TestParkedSocketClosedElsewhere(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	_, p := h.startParked(bg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fd := fdOf(t, p.Conn().NetConn())
	p.Conn().NetConn().Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := fdOf(t, server); got != fd {
		server.Close()
		t.Skipf("got the descriptor %d, not %d", got, fd)
	}
	useSlots(t, h.gate, 1)
	h.sup.Start(bg, plain, server, protocol.Handle(func() protocol.Handler { return parkHandler{make(chan *protocol.Peer, 1)} }, protocol.Options{}))
	ping(t, client)
	if end := h.end(); end.Conn != p.Conn() {
		t.Errorf("got the end of connection %d, want %d", end.Conn.ID(), p.Conn().ID())
	}
	h.waitParked()
	ping(t, client)
	h.close()
}
