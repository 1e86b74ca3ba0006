package packet_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/packet"
)

// OnEnd is called exactly once, whatever has ended the connection, and AtEnd before it.
func TestOnEndWhateverEndsIt(t *testing.T) {
	broken := errors.New("broken")
	call := func(t *testing.T, nc net.Conn, method string) {
		send(t, nc, fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"id":1}`, method))
	}
	for _, c := range []struct {
		name   string
		opts   packet.Options
		end    func(t *testing.T, h *house, nc net.Conn)
		is     error // what OnEnd's error is; nil: any, or none
		reason conns.Reason
	}{
		{"closed by the client", packet.Options{}, func(_ *testing.T, _ *house, nc net.Conn) { nc.Close() }, io.EOF, conns.PeerClosed},
		{"in the middle of a frame", packet.Options{}, func(_ *testing.T, _ *house, nc net.Conn) { nc.Write([]byte{0, 0}); nc.Close() }, io.ErrUnexpectedEOF, conns.PeerClosed},
		{"closed by a method", packet.Options{}, func(t *testing.T, _ *house, nc net.Conn) { call(t, nc, "close") }, nil, conns.Finished},
		{"closed from outside", packet.Options{}, func(_ *testing.T, h *house, _ net.Conn) { h.Sessions()[0].Close(broken) }, broken, conns.Failed},
		{"panic", packet.Options{}, func(t *testing.T, _ *house, nc net.Conn) { call(t, nc, "panic") }, nil, conns.Panicked},
		{"panic in Run", packet.Options{}, func(_ *testing.T, h *house, _ net.Conn) { h.Sessions()[0].Run(func(*packet.Session) { panic("run") }) }, nil, conns.Panicked},
		{"refused by OnConnect", packet.Options{OnConnect: func(*packet.Session) error { return broken }}, nil, broken, conns.Failed},
		{"panic in OnConnect", packet.Options{OnConnect: func(*packet.Session) error { panic("connect") }}, nil, nil, conns.Panicked},
		{"OnTick", packet.Options{OnTick: func(*packet.Session) error { return broken }}, nil, broken, conns.Failed},
		{"limit", packet.Options{FramesPerSecond: 1, FramesBurst: 1}, func(t *testing.T, _ *house, nc net.Conn) { send(t, nc, tick); send(t, nc, tick) }, packet.ErrLimit, conns.BadInput},
		{"idle", packet.Options{ReadTimeout: time.Second}, nil, os.ErrDeadlineExceeded, conns.TimedOut},
		{"killed", packet.Options{}, func(_ *testing.T, h *house, _ net.Conn) { h.l.Kill(h.Sessions()[0].Conn().ID()) }, nil, conns.Killed},
		{"slow", packet.Options{Queue: protocol.QueueOptions{MaxBytes: 1000}}, func(_ *testing.T, h *house, _ net.Conn) {
			for range 10 {
				h.Broadcast("fill", string(make([]byte, 10_000)))
			}
		}, protocol.ErrQueueFull, conns.QueueFull},
		{"shutdown", packet.Options{}, func(_ *testing.T, h *house, _ net.Conn) { h.l.Stop() }, protocol.ErrShutdown, conns.Shutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var saved atomic.Int64
				errs := make(chan error, 10)
				c.opts.OnEnd = func(s *packet.Session, err error) {
					saved.Add(1)
					errs <- err
				}
				at := make(chan error, 10)
				connect := c.opts.OnConnect
				c.opts.OnConnect = func(s *packet.Session) error {
					s.AtEnd(func(err error) { at <- err; panic("in AtEnd") })
					if connect != nil {
						return connect(s)
					}
					return nil
				}
				h := serve(t, c.opts)
				methods(t, h.Server)
				nc := h.dial(t)
				synctest.Wait()
				if c.end != nil {
					c.end(t, h, nc)
				}
				err := <-errs
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("OnEnd got %v, want %v", err, c.is)
				}
				if e := <-at; e != err {
					t.Errorf("AtEnd got %v, OnEnd %v", e, err)
				}
				h.l.Stop()
				synctest.Wait()
				if n := saved.Load(); n != 1 || h.Count() != 0 || len(h.Sessions()) != 0 {
					t.Errorf("OnEnd was called %d times; %d connections are left", n, h.Count())
				}
				<-h.ends // of which the reason is a panic now, as AtEnd does
			})
			// The reason, without a panic in AtEnd.
			synctest.Test(t, func(t *testing.T) {
				opts := c.opts
				opts.OnEnd = nil
				if c.name == "refused by OnConnect" {
					opts.OnConnect = func(*packet.Session) error { return broken }
				} else if c.name == "panic in OnConnect" {
					opts.OnConnect = func(*packet.Session) error { panic("connect") }
				} else {
					opts.OnConnect = nil
				}
				h := serve(t, opts)
				methods(t, h.Server)
				nc := h.dial(t)
				synctest.Wait()
				if c.end != nil {
					c.end(t, h, nc)
				}
				if r := h.reason(); r != c.reason {
					t.Errorf("reason %v, want %v", r, c.reason)
				}
			})
		})
	}
}

// A panic ends its own connection only.
func TestPanicIsItsConnectionsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, packet.Options{})
		methods(t, h.Server)
		nc, other := h.dial(t), h.dial(t)
		send(t, nc, `{"jsonrpc":"2.0","method":"panic","id":1}`)
		atEOF(t, nc)
		if got := ask(t, other, `{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}`); got != result("1", "1") {
			t.Errorf("got %s", got)
		}
	})
}

// Ticks come each second, in turn with frames, and see how long the client has been idle.
func TestTickAndCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type seen struct {
			Ticks         int
			Idle, Age     time.Duration
			Frames, Bytes uint64
		}
		all := make(chan seen, 10)
		h := serve(t, packet.Options{
			OnConnect: func(s *packet.Session) error { s.State = new(seen); return nil },
			OnTick: func(s *packet.Session) error {
				n := s.State.(*seen)
				n.Ticks++
				all <- seen{n.Ticks, s.Idle().Round(time.Second / 2), s.Age().Round(time.Second / 2), s.Frames(), s.Bytes()}
				return nil
			},
		})
		methods(t, h.Server)
		nc := h.dial(t)
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond)
		send(t, nc, tick)
		size := uint64(len(tick) + 4)
		got := []seen{<-all, <-all, <-all}
		want := []seen{{1, time.Second, time.Second, 0, 0}, {2, time.Second / 2, 2 * time.Second, 1, size}, {3, 3 * time.Second / 2, 3 * time.Second, 1, size}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	})
}

// The server sends to one, to a group, and to all; and runs what others want run.
func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, packet.Options{OnConnect: func(s *packet.Session) error { return s.Notify("welcome", nil) }})
		var ncs []net.Conn
		all := make([]*packet.Session, 3)
		known := make(map[*packet.Session]bool)
		for i := range all {
			ncs = append(ncs, h.dial(t))
			if got := receive(t, ncs[i]); got != `{"jsonrpc":"2.0","method":"welcome"}` {
				t.Errorf("got %s", got)
			}
			for _, s := range h.Sessions() {
				if !known[s] {
					known[s], all[i] = true, s
				}
			}
		}
		g := h.NewGroup()
		for _, s := range all[:2] {
			if err := errors.Join(g.Join(s), g.Join(s)); err != nil || !g.Has(s) {
				t.Errorf("join: %v", err)
			}
		}
		count := func(want int) func(n int, err error) {
			return func(n int, err error) {
				t.Helper()
				if n != want || err != nil {
					t.Errorf("sent to %d, %v; want %d", n, err, want)
				}
			}
		}
		expect := func(nc net.Conn, want string) {
			t.Helper()
			if got := receive(t, nc); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		count(3)(h.Broadcast("all", []int{1}))
		for _, nc := range ncs {
			expect(nc, `{"jsonrpc":"2.0","method":"all","params":[1]}`)
		}
		count(2)(g.Notify("group", "<2>"))
		expect(ncs[0], `{"jsonrpc":"2.0","method":"group","params":"<2>"}`)
		expect(ncs[1], `{"jsonrpc":"2.0","method":"group","params":"<2>"}`)
		count(1)(g.NotifyExcept(all[0], "others", nil))
		expect(ncs[1], `{"jsonrpc":"2.0","method":"others"}`)
		if err := all[2].Run(func(s *packet.Session) { s.Notify("run", nil) }); err != nil {
			t.Error(err)
		}
		expect(ncs[2], `{"jsonrpc":"2.0","method":"run"}`)
		if err := g.Leave(all[0]); err != nil || g.Has(all[0]) || g.Count() != 1 {
			t.Errorf("leave: %v", err)
		}
		if err := g.Leave(all[0]); !errors.Is(err, protocol.ErrNotMember) {
			t.Errorf("leave again: %v", err)
		}
		if _, err := g.Notify("long", string(make([]byte, packet.MaxFrame))); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("too long: %v", err)
		}
		if _, err := g.Notify("unsayable", func() {}); err == nil {
			t.Error("a function is sent")
		}
		ncs[1].Close()
		<-h.ends
		if g.Count() != 0 || h.Count() != 2 {
			t.Errorf("%d in the group, %d in all", g.Count(), h.Count())
		}
		if err := all[1].Notify("late", nil); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("to one that has ended: %v", err)
		}
		if err := all[1].Run(func(*packet.Session) {}); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("by one that has ended: %v", err)
		}
	})
}
