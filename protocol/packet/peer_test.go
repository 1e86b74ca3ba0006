package packet_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/packet"
)

// ending is one way in which a connection ends.
type ending struct {
	name   string
	opts   packet.Options
	end    func(t *testing.T, s *testServer, nc net.Conn) // nil: opts end it
	err    error                                          // in the tree of OnEnd's error; nil: any, or none
	reason conns.Reason
}

var errBroken = errors.New("broken")

func endings() []ending {
	request := func(t *testing.T, nc net.Conn, method string) {
		send(t, nc, fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"id":1}`, method))
	}
	return []ending{
		{"closed by the client", packet.Options{},
			func(_ *testing.T, _ *testServer, nc net.Conn) { nc.Close() }, io.EOF, conns.PeerClosed},
		{"closed within a frame", packet.Options{},
			func(_ *testing.T, _ *testServer, nc net.Conn) { nc.Write([]byte{0, 0}); nc.Close() }, io.ErrUnexpectedEOF, conns.PeerClosed},
		{"closed by a method", packet.Options{},
			func(t *testing.T, _ *testServer, nc net.Conn) { request(t, nc, "close") }, nil, conns.Finished},
		{"closed by another goroutine", packet.Options{},
			func(_ *testing.T, s *testServer, _ net.Conn) { s.Peers()[0].Close(errBroken) }, errBroken, conns.Failed},
		{"panic in a method", packet.Options{},
			func(t *testing.T, _ *testServer, nc net.Conn) { request(t, nc, "panic") }, nil, conns.Panicked},
		{"panic in a posted function", packet.Options{},
			func(_ *testing.T, s *testServer, _ net.Conn) {
				s.Peers()[0].Post(func(*packet.Peer) { panic("post") })
			}, nil, conns.Panicked},
		{"error of OnConnect", packet.Options{OnConnect: func(*packet.Peer) error { return errBroken }}, nil, errBroken, conns.Failed},
		{"panic in OnConnect", packet.Options{OnConnect: func(*packet.Peer) error { panic("connect") }}, nil, nil, conns.Panicked},
		{"error of OnTick", packet.Options{OnTick: func(*packet.Peer) error { return errBroken }}, nil, errBroken, conns.Failed},
		{"rate limit", packet.Options{FramesPerSecond: 1, FramesBurst: 1},
			func(t *testing.T, _ *testServer, nc net.Conn) { send(t, nc, update); send(t, nc, update) }, protocol.ErrBadInput, conns.BadInput},
		{"read timeout", packet.Options{ReadTimeout: time.Second}, nil, os.ErrDeadlineExceeded, conns.TimedOut},
		{"killed", packet.Options{},
			func(_ *testing.T, s *testServer, _ net.Conn) {
				s.listener.Kill(conns.Query{ID: s.Peers()[0].Conn().ID()})
			}, nil, conns.Killed},
		{"queue full", packet.Options{Queue: protocol.QueueOptions{MaxBytes: 1000}},
			func(_ *testing.T, s *testServer, _ net.Conn) {
				for range 10 {
					s.All().Notify("fill", string(make([]byte, 10_000)))
				}
			}, protocol.ErrQueueFull, conns.QueueFull},
		{"shutdown", packet.Options{},
			func(_ *testing.T, s *testServer, _ net.Conn) { s.listener.Stop() }, protocol.ErrShutdown, conns.Shutdown},
	}
}

// run lets one connection end.
func (e ending) run(t *testing.T, opts packet.Options) *testServer {
	s := newTestServer(t, opts)
	registerMethods(t, s.Server)
	nc := s.dial(t)
	synctest.Wait()
	if e.end != nil {
		e.end(t, s, nc)
	}
	return s
}

// OnEnd and the functions of AtEnd are called exactly once, even if one of them panics.
func TestOnEnd(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				type called struct {
					function string
					err      error
				}
				calls := make(chan called, 10)
				opts := e.opts
				opts.OnEnd = func(_ *packet.Peer, err error) { calls <- called{"OnEnd", err} }
				opts.OnConnect = func(p *packet.Peer) error {
					p.AtEnd(func(err error) { calls <- called{"first", err} })
					p.AtEnd(func(err error) { calls <- called{"second", err}; panic("in AtEnd") })
					if e.opts.OnConnect != nil {
						return e.opts.OnConnect(p)
					}
					return nil
				}
				s := e.run(t, opts)
				<-s.ended // the reason is the panic in AtEnd: see TestReason
				s.listener.Stop()
				synctest.Wait()
				close(calls)
				var order []string
				var errs []error
				for c := range calls {
					order, errs = append(order, c.function), append(errs, c.err)
				}
				if diff := cmp.Diff([]string{"second", "first", "OnEnd"}, order); diff != "" {
					t.Fatalf("calls (-want +got):\n%s", diff)
				}
				if e.err != nil && !errors.Is(errs[2], e.err) {
					t.Errorf("OnEnd: got %v, want %v", errs[2], e.err)
				}
				if errs[0] != errs[2] || errs[1] != errs[2] {
					t.Errorf("AtEnd: got %v and %v, want %v", errs[0], errs[1], errs[2])
				}
				if n := len(s.Peers()); n != 0 || s.All().Count() != 0 {
					t.Errorf("after the end: got %d peers and %d in the group, want none", n, s.All().Count())
				}
			})
		})
	}
}

func TestReason(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := e.run(t, e.opts).reason(); got != e.reason {
					t.Errorf("got %v, want %v", got, e.reason)
				}
			})
		})
	}
}

func TestPanicEndsOnlyItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{})
		registerMethods(t, s.Server)
		nc, other := s.dial(t), s.dial(t)
		send(t, nc, `{"jsonrpc":"2.0","method":"panic","id":1}`)
		wantEOF(t, nc)
		got := call(t, other, `{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}`)
		if want := result("1", "1"); got != want {
			t.Errorf("the other connection: got %s, want %s", got, want)
		}
	})
}

// OnTick is called every second, in turn with frames, and sees the statistics.
func TestTickAndStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := make(chan packet.Stats, 10)
		ticks := make(chan int, 10)
		s := newTestServer(t, packet.Options{
			OnConnect: func(p *packet.Peer) error { p.State = new(int); return nil },
			OnTick: func(p *packet.Peer) error {
				n := p.State.(*int)
				*n++
				ticks <- *n
				stats := p.Stats()
				stats.Idle, stats.Age = stats.Idle.Round(time.Second/2), stats.Age.Round(time.Second/2)
				all <- stats
				return nil
			},
		})
		registerMethods(t, s.Server)
		nc := s.dial(t)
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond)
		send(t, nc, update)
		got := []packet.Stats{<-all, <-all, <-all}
		size := uint64(len(update) + 4)
		want := []packet.Stats{
			{Age: time.Second, Idle: time.Second},
			{Frames: 1, Bytes: size, Age: 2 * time.Second, Idle: time.Second / 2},
			{Frames: 1, Bytes: size, Age: 3 * time.Second, Idle: 3 * time.Second / 2},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("statistics (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int{1, 2, 3}, []int{<-ticks, <-ticks, <-ticks}); diff != "" {
			t.Errorf("ticks (-want +got):\n%s", diff)
		}
	})
}

// dialPeers returns three connections and their peers.
func dialPeers(t *testing.T, s *testServer) (ncs []net.Conn, peers []*packet.Peer) {
	t.Helper()
	known := make(map[*packet.Peer]bool)
	for range 3 {
		nc := s.dial(t)
		wantFrame(t, nc, `{"jsonrpc":"2.0","method":"welcome"}`) // sent by OnConnect
		ncs = append(ncs, nc)
		for _, p := range s.Peers() {
			if !known[p] {
				known[p] = true
				peers = append(peers, p)
			}
		}
	}
	return ncs, peers
}

func wantFrame(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	if got := receive(t, nc); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func welcome(p *packet.Peer) error { return p.Notify("welcome", nil) }

// Notifications reach one client, a group or all clients. Posted functions run.
func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{OnConnect: welcome})
		ncs, peers := dialPeers(t, s)
		g := s.NewGroup()
		for _, p := range peers[:2] {
			if err := errors.Join(g.Join(p), g.Join(p)); err != nil {
				t.Errorf("Join: %v", err)
			}
		}
		wantSent := func(want int) func(n int, err error) {
			return func(n int, err error) {
				t.Helper()
				if n != want || err != nil {
					t.Errorf("got %d clients, %v, want %d", n, err, want)
				}
			}
		}
		wantSent(3)(s.All().Notify("all", []int{1}))
		for _, nc := range ncs {
			wantFrame(t, nc, `{"jsonrpc":"2.0","method":"all","params":[1]}`)
		}
		wantSent(2)(g.Notify("group", "<2>"))
		wantFrame(t, ncs[0], `{"jsonrpc":"2.0","method":"group","params":"<2>"}`)
		wantFrame(t, ncs[1], `{"jsonrpc":"2.0","method":"group","params":"<2>"}`)
		wantSent(1)(g.NotifyExcept(peers[0], "others", nil))
		wantFrame(t, ncs[1], `{"jsonrpc":"2.0","method":"others"}`)
		if err := peers[2].Post(func(p *packet.Peer) { p.Notify("posted", nil) }); err != nil {
			t.Errorf("Post: %v", err)
		}
		wantFrame(t, ncs[2], `{"jsonrpc":"2.0","method":"posted"}`)
		if _, err := g.Notify("long", string(make([]byte, maxFrame))); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("long params: got %v, want %v", err, protocol.ErrFrameTooLarge)
		}
		if _, err := g.Notify("unencodable", func() {}); err == nil {
			t.Error("params that cannot be encoded: got no error")
		}
	})
}

func TestLeaveGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, packet.Options{OnConnect: welcome})
		ncs, peers := dialPeers(t, s)
		g := s.NewGroup()
		if err := errors.Join(g.Join(peers[0]), g.Join(peers[1])); err != nil {
			t.Fatal(err)
		}
		if was := g.Leave(peers[0]); !was || g.Count() != 1 {
			t.Errorf("Leave: got %t and %d clients, want true and 1", was, g.Count())
		}
		if g.Leave(peers[0]) {
			t.Error("second Leave: got true, want false")
		}
		ncs[1].Close()
		<-s.ended
		if g.Count() != 0 || s.All().Count() != 2 {
			t.Errorf("after the end: got %d in the group and %d in all, want 0 and 2", g.Count(), s.All().Count())
		}
		if err := peers[1].Notify("late", nil); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("Notify after the end: got %v, want %v", err, protocol.ErrEnded)
		}
		if err := peers[1].Post(func(*packet.Peer) {}); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("Post after the end: got %v, want %v", err, protocol.ErrEnded)
		}
		if err := g.Join(peers[1]); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("Join after the end: got %v, want %v", err, protocol.ErrEnded)
		}
	})
}
