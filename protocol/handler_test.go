package protocol_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// script is a handler whose callbacks are functions; nil functions are skipped.
type script struct {
	connect  func(*protocol.Peer) protocol.Action
	data     func(*protocol.Peer, []byte) protocol.Action
	message  func(*protocol.Peer, any) protocol.Action
	tick     func(*protocol.Peer) protocol.Action
	timeout  func(*protocol.Peer) protocol.Action
	shutdown func(*protocol.Peer)
	close    func(*protocol.Peer, error)
}

func (s *script) HandleConnect(p *protocol.Peer) protocol.Action {
	if s.connect != nil {
		return s.connect(p)
	}
	return protocol.Continue()
}

func (s *script) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	if s.data != nil {
		return s.data(p, b)
	}
	return protocol.Continue()
}

func (s *script) HandleMessage(p *protocol.Peer, m any) protocol.Action {
	if s.message != nil {
		return s.message(p, m)
	}
	return protocol.Continue()
}

func (s *script) HandleTick(p *protocol.Peer) protocol.Action {
	if s.tick != nil {
		return s.tick(p)
	}
	return protocol.Continue()
}

func (s *script) HandleShutdown(p *protocol.Peer) {
	if s.shutdown != nil {
		s.shutdown(p)
	}
}

func (s *script) HandleClose(p *protocol.Peer, err error) {
	if s.close != nil {
		s.close(p, err)
	}
}

// timed is a script with HandleTimeout.
type timed struct{ script }

func (s *timed) HandleTimeout(p *protocol.Peer) protocol.Action { return s.timeout(p) }

// testServer is a listener on the in-memory transport. ends receives the event of each connection
// that has ended.
type testServer struct {
	*ranch.Listener
	mem  *transport.Mem
	ends chan ranch.Event
}

func newTestServer(t *testing.T, h func() protocol.Handler, opts protocol.Options) *testServer {
	t.Helper()
	s := &testServer{mem: new(transport.Mem)}
	s.Listener, s.ends = listen(t, s.mem, h, opts)
	return s
}

func listen(t *testing.T, tr transport.Transport, h func() protocol.Handler, opts protocol.Options) (*ranch.Listener, chan ranch.Event) {
	t.Helper()
	ends, addr := make(chan ranch.Event, 1000), "127.0.0.1:0"
	if _, mem := tr.(*transport.Mem); mem {
		addr = "h"
	}
	l, err := new(ranch.Server).StartListener("h", tr, ranch.Options{
		Addr: addr, Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				ends <- e
			}
		},
	}, protocol.Handle(h, opts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l, ends
}

func (s *testServer) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := s.mem.Dial(context.Background(), "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// shared returns a function that returns the same handler for each connection.
func shared(s *script) func() protocol.Handler { return func() protocol.Handler { return s } }

func newEcho() protocol.Handler {
	return &script{data: func(p *protocol.Peer, b []byte) protocol.Action {
		if err := p.Send(b); err != nil {
			return protocol.Fail(err)
		}
		return protocol.Continue()
	}}
}

func frame(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

// Frames are complete and answers in order, however the stream is divided.
func TestFramesHoweverTheyAreCut(t *testing.T) {
	var in []byte
	for _, n := range []int{0, 1, 64, 0, 5000, 70_000, 3, 100_000, 0} {
		in = append(in, frame(strings.Repeat("x", n))...)
	}
	for _, piece := range []int{1, 2, 3, 5, 1000, 65_536, len(in)} {
		synctest.Test(t, func(t *testing.T) {
			s := newTestServer(t, newEcho, protocol.Options{Codec: protocol.LengthPrefix{}})
			nc := s.dial(t)
			go func() {
				for b := in; len(b) > 0; b = b[min(piece, len(b)):] {
					nc.Write(b[:min(piece, len(b))])
				}
				nc.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(nc)
			if err != nil || string(got) != string(in) {
				t.Errorf("pieces of %d bytes: got %d bytes, %v, want the %d bytes sent", piece, len(got), err, len(in))
			}
			if e := <-s.ends; e.Reason != conns.PeerClosed {
				t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.PeerClosed)
			}
		})
	}
}

// Messages, ticks and frames are handled one at a time, in order.
func TestSerial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		peers := make(chan *protocol.Peer, 1)
		h := &script{
			connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
			data: func(_ *protocol.Peer, b []byte) protocol.Action {
				got = append(got, "data "+string(b))
				return protocol.Continue()
			},
			message: func(_ *protocol.Peer, m any) protocol.Action {
				got = append(got, "message "+m.(string))
				return protocol.Continue()
			},
			tick: func(*protocol.Peer) protocol.Action { got = append(got, "tick"); return protocol.Continue() },
		}
		s := newTestServer(t, shared(h), protocol.Options{Codec: protocol.Lines{}, Tick: time.Second})
		nc := s.dial(t)
		p := <-peers
		io.WriteString(nc, "a\nb\n")
		synctest.Wait()
		p.Post("c")
		p.Post("d")
		synctest.Wait()
		time.Sleep(2200 * time.Millisecond)
		synctest.Wait()
		if got, want := strings.Join(got, ", "), "data a, data b, message c, message d, tick, tick"; got != want {
			t.Errorf("got calls %q, want %q", got, want)
		}
		nc.Close()
		<-s.ends
		if err := p.Post("e"); err != protocol.ErrEnded {
			t.Errorf("Post after the end: got %v, want %v", err, protocol.ErrEnded)
		}
		if err := p.Send(nil); !errors.Is(err, protocol.ErrEnded) {
			t.Errorf("Send after the end: got %v, want %v", err, protocol.ErrEnded)
		}
	})
}

// The connection ends when no frame arrives within the read timeout. Frames restart it, messages
// and parts of frames do not.
func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *protocol.Peer, 1)
		h := &script{connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() }}
		s := newTestServer(t, shared(h), protocol.Options{Codec: protocol.Lines{}, ReadTimeout: 10 * time.Second})
		nc, p := s.dial(t), <-peers
		begin := time.Now()
		for range 3 {
			time.Sleep(9 * time.Second)
			io.WriteString(nc, "a\n")
		}
		time.Sleep(5 * time.Second)
		p.Post("hello")
		io.WriteString(nc, "a part of a line")
		e := <-s.ends
		if took := time.Since(begin); e.Reason != conns.TimedOut || !errors.Is(e.Err, os.ErrDeadlineExceeded) || took < 37*time.Second || took > 38500*time.Millisecond {
			t.Errorf("got end %v (%v) after %v, want %v after 37 s", e.Reason, e.Err, took, conns.TimedOut)
		}
	})
}

// Within applies to the next frame, WithinAlways to all later ones; both call HandleTimeout.
func TestTimeoutsPerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []int
		h := &timed{}
		h.data = func(_ *protocol.Peer, b []byte) protocol.Action {
			switch string(b) {
			case "once":
				return protocol.Continue().Within(5 * time.Second)
			case "always":
				return protocol.Continue().WithinAlways(20 * time.Second)
			case "never":
				return protocol.Continue().WithinAlways(0)
			}
			return protocol.Continue()
		}
		h.timeout = func(*protocol.Peer) protocol.Action {
			at = append(at, int(time.Since(begin).Seconds()))
			return protocol.Continue()
		}
		s := newTestServer(t, func() protocol.Handler { return h }, protocol.Options{Codec: protocol.Lines{}})
		nc := s.dial(t)
		send := func(line string, after time.Duration) {
			io.WriteString(nc, line+"\n")
			time.Sleep(after)
		}
		send("", 100*time.Second)      // no limit, until 100
		send("once", 12*time.Second)   // 105, and again 110
		send("x", 38*time.Second)      // the limit applied to one frame
		send("always", 50*time.Second) // from 150: 170, 190
		send("x", 30*time.Second)      // from 200: 220
		send("never", 100*time.Second)
		synctest.Wait()
		if len(at) != 5 || at[0] != 105 || at[1] != 110 || at[2] != 170 || at[3] != 190 || at[4] != 220 {
			t.Errorf("got timeouts at %v, want [105 110 170 190 220]", at)
		}
	})
}

// HandleClose is called exactly once, with the error, for each way in which a connection ends.
func TestCloseOnce(t *testing.T) {
	fault := errors.New("fault")
	for _, c := range []struct {
		name   string
		act    func(p *protocol.Peer, what string) protocol.Action
		client func(nc net.Conn)
		reason conns.Reason
		err    error
	}{
		{"stop", func(*protocol.Peer, string) protocol.Action { return protocol.Stop() }, nil, conns.Finished, nil},
		{"fail", func(*protocol.Peer, string) protocol.Action { return protocol.Fail(fault) }, nil, conns.Failed, fault},
		{"panic", func(*protocol.Peer, string) protocol.Action { panic(fault) }, nil, conns.Panicked, fault},
		{"closed from outside", func(p *protocol.Peer, _ string) protocol.Action { p.Close(fault); return protocol.Continue() }, nil, conns.Failed, fault},
		{"closed by the peer", nil, func(nc net.Conn) { nc.Close() }, conns.PeerClosed, io.EOF},
		{"a line that is too long", nil, func(nc net.Conn) { nc.Write(make([]byte, 100)) }, conns.BadInput, protocol.ErrFrameTooLarge},
	} {
		for _, where := range []string{"connect", "data", "message", "tick", "timeout"} {
			t.Run(c.name+" in "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					closed := 0
					var got error
					act := func(p *protocol.Peer, what string) protocol.Action {
						if what == "connect" {
							p.Send([]byte("hello"))
						}
						if c.act != nil && what == where {
							return c.act(p, what)
						}
						return protocol.Continue()
					}
					peers := make(chan *protocol.Peer, 1)
					h := &timed{script{
						connect: func(p *protocol.Peer) protocol.Action { peers <- p; return act(p, "connect") },
						data:    func(p *protocol.Peer, _ []byte) protocol.Action { return act(p, "data") },
						message: func(p *protocol.Peer, _ any) protocol.Action { return act(p, "message") },
						tick:    func(p *protocol.Peer) protocol.Action { return act(p, "tick") },
						timeout: func(p *protocol.Peer) protocol.Action { return act(p, "timeout") },
						close:   func(_ *protocol.Peer, err error) { closed++; got = err },
					}}
					s := newTestServer(t, func() protocol.Handler { return h },
						protocol.Options{Codec: protocol.Lines{Max: 50}, Tick: 10 * time.Second, ReadTimeout: 20 * time.Second})
					nc := s.dial(t)
					p := <-peers
					b := make([]byte, 6)
					if _, err := io.ReadFull(nc, b); string(b) != "hello\n" || err != nil {
						t.Errorf("greeting: got %q, %v, want hello", b, err)
					}
					if c.client != nil {
						c.client(nc)
					} else {
						io.WriteString(nc, "line\n")
						p.Post("message")
						time.Sleep(time.Minute)
					}
					e := <-s.ends
					if e.Reason != c.reason || closed != 1 || c.err != nil && !errors.Is(got, c.err) || (c.err == nil) != (got == nil) {
						t.Errorf("got end %v (%v) and %d calls of HandleClose with %v, want %v and one call with %v", e.Reason, e.Err, closed, got, c.reason, c.err)
					}
				})
			})
		}
	}
}

// Frames that HandleShutdown sends are written.
func TestHandlerShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		h := &script{
			shutdown: func(p *protocol.Peer) { p.Send([]byte("bye")) },
			close:    func(_ *protocol.Peer, err error) { cause = err },
		}
		s := newTestServer(t, shared(h), protocol.Options{Codec: protocol.Lines{}})
		nc := s.dial(t)
		synctest.Wait()
		go s.Stop()
		if got, err := io.ReadAll(nc); string(got) != "bye\n" || err != nil {
			t.Errorf("got %q, %v, want bye", got, err)
		}
		if e := <-s.ends; e.Reason != conns.Shutdown || !errors.Is(cause, protocol.ErrShutdown) {
			t.Errorf("got end %v and cause %v, want %v and %v", e.Reason, cause, conns.Shutdown, protocol.ErrShutdown)
		}
	})
}
