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

// ended is a handler that answers, and tells how its connection has ended.
type ended struct {
	echoes
	how chan error
}

func (e ended) HandleClose(_ *protocol.Peer, err error) { e.how <- err }

func (ended) HandleMessage(p *protocol.Peer, msg any) protocol.Action {
	p.Send([]byte(msg.(string)))
	return protocol.Continue()
}

// serving counts goroutines that serve a connection.
func servingGoroutines() int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "conns.(*connection).run(")
}

// resting starts a listener whose connections rest after 10 ms, opens n, and waits until
// no goroutine serves any.
func resting(t *testing.T, tr transport.Transport, n int) (l *ranch.Listener, clients []net.Conn, peers func() []*protocol.Peer, how chan error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("connections rest on Linux only")
	}
	how = make(chan error, n)
	var mu sync.Mutex
	var all []*protocol.Peer
	p := protocol.Handle(func() protocol.Handler { return &noting{ended{how: how}, &mu, &all} }, protocol.Options{})
	l, _ = start(t, tr, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{ParkAfter: 10 * time.Millisecond}, ShutdownTimeout: time.Minute}, p)
	for range n {
		nc, err := tr.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		clients = append(clients, nc)
		ping(t, nc, "first")
	}
	rests(t)
	return l, clients, func() []*protocol.Peer { mu.Lock(); defer mu.Unlock(); return all }, how
}

type noting struct {
	ended
	mu  *sync.Mutex
	all *[]*protocol.Peer
}

func (n *noting) HandleConnect(p *protocol.Peer) protocol.Action {
	n.mu.Lock()
	defer n.mu.Unlock()
	*n.all = append(*n.all, p)
	return protocol.Continue()
}

func rests(t *testing.T) {
	t.Helper()
	eventually(t, "nobody is served by a goroutine", func() bool { return servingGoroutines() == 0 })
}

func ping(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, s); err != nil {
		t.Fatal(err)
	}
	hears(t, nc, s)
}

func hears(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	b := make([]byte, len(s))
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != s {
		t.Fatalf("%q, %v instead of %q", b, err, s)
	}
}

func restingTransports() map[string]transport.Transport {
	return map[string]transport.Transport{
		"tcp": transport.TCP{},
		"tls": transport.TLS{Config: bothSides()},
	}
}

// Idle connections have no goroutine. They go on when data comes, again and again, and get
// what is sent to them meanwhile.
func TestRest(t *testing.T) {
	for name, tr := range restingTransports() {
		t.Run(name, func(t *testing.T) {
			l, clients, peers, _ := resting(t, tr, 20)
			for range 2 {
				for _, nc := range clients {
					ping(t, nc, "again")
				}
				rests(t)
			}
			for _, p := range peers() {
				if err := p.Post("a message"); err != nil {
					t.Fatal(err)
				}
			}
			for _, nc := range clients {
				hears(t, nc, "a message")
			}
			rests(t) // what was sent has woken nobody
			for _, c := range l.Connections() {
				if c.State() != "serving" {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// However a connection ends that rests, its handler is told, once, and the connection is gone.
func TestRestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *ranch.Listener, nc net.Conn, p *protocol.Peer)
		want error
	}{
		{"the peer leaves", func(_ *ranch.Listener, nc net.Conn, _ *protocol.Peer) { nc.Close() }, io.EOF},
		{"Peer.Close", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Close(errSudden) }, errSudden},
		{"stop", func(l *ranch.Listener, _ net.Conn, _ *protocol.Peer) { l.Stop() }, protocol.ErrShutdown},
		{"kill", func(l *ranch.Listener, _ net.Conn, p *protocol.Peer) { l.Kill(p.Conn().ID()) }, net.ErrClosed},
		{"closed by somebody", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Conn().Close() }, net.ErrClosed},
		{"reads stopped", func(_ *ranch.Listener, _ net.Conn, p *protocol.Peer) { p.Conn().StopReading(errSudden) }, errSudden},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, tr := range restingTransports() {
				l, clients, peers, how := resting(t, tr, 1)
				c.do(l, clients[0], peers()[0])
				if err := <-how; !errors.Is(err, c.want) {
					t.Errorf("%s: %v instead of %v", name, err, c.want)
				}
				active(t, l, 0)
				if n := len(how); n > 0 {
					t.Errorf("%s: closed %d times more", name, n)
				}
			}
		})
	}
}

var errSudden = errors.New("all of a sudden")

// Data that comes in the moment of lying down is not overlooked, nor is an end.
func TestRestRace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections rest on Linux only")
	}
	for name, tr := range restingTransports() {
		how := make(chan error, 100)
		p := protocol.Handle(func() protocol.Handler { return ended{how: how} }, protocol.Options{})
		l, _ := start(t, tr, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{ParkAfter: 1}}, p) // looked at each 10 ms
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				nc, err := tr.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(patience))
				b := make([]byte, 4)
				for j := range 50 {
					if _, err := nc.Write([]byte("ping")); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					if _, err := io.ReadFull(nc, b); err != nil {
						t.Errorf("%s: round %d: %v", name, j, err)
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
		active(t, l, 0)
	}
}

// Who only listens rests, however much is sent.
func TestListenersRest(t *testing.T) {
	_, clients, peers, _ := resting(t, transport.TCP{}, 3)
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
	rests(t)
}
