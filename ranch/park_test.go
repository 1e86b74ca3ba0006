package ranch_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// closeRecorder is a handler that echoes, and records the error of HandleClose.
type closeRecorder struct {
	echoHandler
	closed chan error
}

func (e closeRecorder) HandleClose(_ *protocol.Peer, err error) { e.closed <- err }

func (closeRecorder) HandleMessage(p *protocol.Peer, msg any) protocol.Action {
	p.Send([]byte(msg.(string)))
	return protocol.Continue()
}

// servingGoroutines returns the number of goroutines that serve a connection.
func servingGoroutines() int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "conns.(*connection).run(")
}

// parkedClients starts a listener whose connections are parked after 10 ms, opens n of them, and
// waits until all are parked.
func parkedClients(t *testing.T, tr transport.Transport, n int) (l *ranch.Listener, clients []net.Conn, peers func() []*protocol.Peer, how chan error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux only")
	}
	how = make(chan error, n)
	var mu sync.Mutex
	var all []*protocol.Peer
	p := protocol.Handle(func() protocol.Handler { return &connectRecorder{closeRecorder{closed: how}, &mu, &all} }, protocol.Options{})
	l, _ = startListener(t, tr, ranch.Options{Addr: "127.0.0.1:0", HandshakeTimeout: testTimeout, Limits: conns.Limits{ParkAfter: 10 * time.Millisecond}, ShutdownTimeout: time.Minute}, p)
	for range n {
		nc, err := tr.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		clients = append(clients, nc)
		ping(t, nc, "first")
	}
	waitParked(t)
	return l, clients, func() []*protocol.Peer { mu.Lock(); defer mu.Unlock(); return all }, how
}

type connectRecorder struct {
	closeRecorder
	mu  *sync.Mutex
	all *[]*protocol.Peer
}

func (n *connectRecorder) HandleConnect(p *protocol.Peer) protocol.Action {
	n.mu.Lock()
	defer n.mu.Unlock()
	*n.all = append(*n.all, p)
	return protocol.Continue()
}

func waitParked(t *testing.T) {
	t.Helper()
	waitUntil(t, "all connections are parked", func() bool { return servingGoroutines() == 0 })
}

func ping(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(nc, s); err != nil {
		t.Fatal(err)
	}
	expectRead(t, nc, s)
}

func expectRead(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(testTimeout))
	b := make([]byte, len(s))
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != s {
		t.Fatalf("got %q, %v, want %q", b, err, s)
	}
}

func parkingTransports() map[string]transport.Transport {
	return map[string]transport.Transport{
		"tcp": transport.TCP{},
		"tls": transport.TLS{Config: testTLSConfig()},
		"mem": new(transport.Mem),
	}
}

// Parked connections have no goroutine. They are woken by data, repeatedly, and messages are sent
// to them while they are parked.
func TestParkedConnections(t *testing.T) {
	for name, tr := range parkingTransports() {
		t.Run(name, func(t *testing.T) {
			l, clients, peers, _ := parkedClients(t, tr, 20)
			for range 2 {
				for _, nc := range clients {
					ping(t, nc, "again")
				}
				waitParked(t)
			}
			for _, p := range peers() {
				if err := p.Post("a message"); err != nil {
					t.Fatal(err)
				}
			}
			for _, nc := range clients {
				expectRead(t, nc, "a message")
			}
			waitParked(t) // sending does not wake a connection
			for _, c := range l.Connections() {
				if c.State() != "serving" {
					t.Errorf("got %+v, want state serving", c)
				}
			}
		})
	}
}

// However a parked connection ends, HandleClose is called once, and the connection is not listed
// any more.
func TestParkedConnectionEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *ranch.Listener, nc net.Conn, p *protocol.Peer)
		want error
	}{
		{"the peer closes", func(_ *ranch.Listener, nc net.Conn, _ *protocol.Peer) { nc.Close() }, io.EOF},
		{"Peer.Close", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Close(errClose) }, errClose},
		{"stop", func(l *ranch.Listener, _ net.Conn, _ *protocol.Peer) { l.Stop() }, protocol.ErrShutdown},
		{"kill", func(l *ranch.Listener, _ net.Conn, p *protocol.Peer) { l.Kill(conns.Query{ID: p.Conn().ID()}) }, net.ErrClosed},
		{"closed by other code", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Conn().Close() }, net.ErrClosed},
		{"reads stopped", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Conn().StopReading(errClose) }, errClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, tr := range parkingTransports() {
				l, clients, peers, how := parkedClients(t, tr, 1)
				c.do(l, clients[0], peers()[0])
				if err := <-how; !errors.Is(err, c.want) {
					t.Errorf("%s: got %v, want %v", name, err, c.want)
				}
				waitActive(t, l, 0)
				if n := len(how); n > 0 {
					t.Errorf("%s: got %d more calls of HandleClose, want 0", name, n)
				}
			}
		})
	}
}

var errClose = errors.New("closed by the test")

// Data that arrives while a connection is being parked wakes it, and so does its end.
func TestParkRace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux only")
	}
	for name, tr := range parkingTransports() {
		how := make(chan error, 100)
		p := protocol.Handle(func() protocol.Handler { return closeRecorder{closed: how} }, protocol.Options{})
		l, _ := startListener(t, tr, ranch.Options{Addr: "127.0.0.1:0", HandshakeTimeout: testTimeout, Limits: conns.Limits{ParkAfter: 1}}, p) // checked each 10 ms
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				nc, err := tr.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(testTimeout))
				b := make([]byte, 4)
				for j := range 50 {
					if _, err := nc.Write([]byte("ping")); err != nil {
						t.Errorf("%s: write: got %v, want nil", name, err)
						return
					}
					if _, err := io.ReadFull(nc, b); err != nil {
						t.Errorf("%s: round %d: read: got %v, want nil", name, j, err)
						return
					}
					time.Sleep(time.Duration(7+i%7) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		for range 20 {
			<-how
		}
		waitActive(t, l, 0)
	}
}

// A connection that only sends is parked, however much it sends.
func TestSendersAreParked(t *testing.T) {
	_, clients, peers, _ := parkedClients(t, transport.TCP{}, 3)
	for _, nc := range clients {
		ping(t, nc, "awake")
		go io.Copy(io.Discard, nc) // until the test closes it
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, p := range peers() {
				p.Send([]byte("news"))
			}
			time.Sleep(time.Millisecond)
		}
	})
	waitParked(t)
}
