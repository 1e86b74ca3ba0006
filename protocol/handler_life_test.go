package protocol_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

var certificates = sync.OnceValue(func() []tls.Certificate {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return ts.TLS.Certificates
})

// secure returns a TLS transport with a self-signed certificate.
func secure(_ *testing.T, tcp transport.TCP) transport.TLS {
	return transport.TLS{TCP: tcp, Config: &tls.Config{Certificates: certificates(), InsecureSkipVerify: true}}
}

// Each callback can request an upgrade; frames that are sent during the handshake follow it.
func TestUpgradeFromAnywhere(t *testing.T) {
	for _, where := range []string{"connect", "data", "message", "tick", "timeout"} {
		t.Run(where, func(t *testing.T) {
			tr := secure(t, transport.TCP{})
			synctest.Test(t, func(t *testing.T) {
				upgraded := false
				act := func(p *protocol.Peer, now string) protocol.Action {
					if now != where || upgraded {
						return protocol.Continue()
					}
					upgraded = true
					p.Send([]byte("go ahead"))
					return protocol.Upgrade(tr)
				}
				peers := make(chan *protocol.Peer, 1)
				h := &timed{script{
					connect: func(p *protocol.Peer) protocol.Action { peers <- p; return act(p, "connect") },
					data: func(p *protocol.Peer, b []byte) protocol.Action {
						if string(b) != "begin" {
							p.Send(b)
						}
						return act(p, "data")
					},
					message: func(p *protocol.Peer, _ any) protocol.Action { return act(p, "message") },
					tick:    func(p *protocol.Peer) protocol.Action { return act(p, "tick") },
					timeout: func(p *protocol.Peer) protocol.Action { return act(p, "timeout") },
				}}
				s := newTestServer(t, func() protocol.Handler { return h }, protocol.Options{Codec: protocol.Lines{}, Tick: time.Second, ReadTimeout: time.Minute})
				nc, p := s.dial(t), <-peers
				switch where {
				case "data":
					io.WriteString(nc, "begin\n")
				case "message":
					p.Post("begin")
				}
				line := make([]byte, 9)
				if _, err := io.ReadFull(nc, line); string(line) != "go ahead\n" || err != nil {
					t.Fatalf("got %q, %v, want go ahead", line, err)
				}
				synctest.Wait()
				if err := p.Send([]byte("meanwhile")); err != nil {
					t.Errorf("Send during the upgrade: got %v, want no error", err)
				}
				c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
				fmt.Fprintln(c, "hello")
				in := bufio.NewScanner(c)
				for _, want := range []string{"meanwhile", "hello"} {
					if in.Scan(); in.Text() != want {
						t.Errorf("got %q, %v, want %q", in.Text(), in.Err(), want)
					}
				}
				nc.Close()
				<-s.ends
			})
		})
	}
}

// Switch and Upgrade without an argument end the connection with an error, and so does plain text
// behind an upgrade request, which could be injected.
func TestBadActions(t *testing.T) {
	for name, c := range map[string]struct {
		action protocol.Action
		in     string
		want   string
	}{
		"no transport": {protocol.Upgrade(nil), "a\n", "Upgrade without a transport"},
		"no handler":   {protocol.Switch(nil), "a\n", "Switch without a handler"},
		"injection":    {protocol.Upgrade(secure(t, transport.TCP{})), "a\nb\n", transport.ErrBuffered.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, shared(&script{data: func(*protocol.Peer, []byte) protocol.Action { return c.action }}), protocol.Options{Codec: protocol.Lines{}})
				io.WriteString(s.dial(t), c.in)
				if e := <-s.ends; e.Err == nil || !strings.Contains(e.Err.Error(), c.want) {
					t.Errorf("got end %v (%v), want an error with %q", e.Reason, e.Err, c.want)
				}
			})
		})
	}
}

// switcher is a handler without optional callbacks. It switches to next.
type switcher struct{ next protocol.Handler }

func (h switcher) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Switch(h.next) }

// The handler after Switch receives ticks, exactly in their period even if that is no multiple of
// the resolution.
func TestTicksAfterSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := 0
		next := &script{tick: func(*protocol.Peer) protocol.Action { ticks++; return protocol.Continue() }}
		s := newTestServer(t, func() protocol.Handler { return switcher{next} }, protocol.Options{Tick: 25 * time.Millisecond})
		nc := s.dial(t)
		io.WriteString(nc, "x")
		synctest.Wait()
		time.Sleep(25*time.Second + 22*time.Millisecond)
		synctest.Wait()
		if ticks != 1000 {
			t.Errorf("got %d ticks, want 1000", ticks)
		}
		nc.Close()
		<-s.ends
	})
}

// Ticks that become due during a callback are combined into one.
func TestSlowTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := 0
		s := newTestServer(t, shared(&script{tick: func(*protocol.Peer) protocol.Action {
			if ticks++; ticks == 1 {
				time.Sleep(10500 * time.Millisecond) // until 11.5
			}
			return protocol.Continue()
		}}), protocol.Options{Tick: time.Second})
		nc := s.dial(t)
		time.Sleep(14*time.Second + 200*time.Millisecond)
		synctest.Wait()
		if ticks != 5 { // 1, 11.5, 12, 13, 14
			t.Errorf("got %d ticks, want 5", ticks)
		}
		nc.Close()
		<-s.ends
	})
}

// Callbacks run one at a time while many goroutines post, and each message is delivered or refused.
func TestFlood(t *testing.T) {
	var inside, frames, messages, refused atomic.Int64
	enter := func() func() {
		if inside.Add(1) != 1 {
			t.Error("got two callbacks at the same time, want one")
		}
		return func() { inside.Add(-1) }
	}
	peers := make(chan *protocol.Peer, 1)
	s := newTestServer(t, shared(&script{
		connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
		data: func(p *protocol.Peer, b []byte) protocol.Action {
			defer enter()()
			frames.Add(1)
			p.Send(b)
			return protocol.Continue()
		},
		message: func(*protocol.Peer, any) protocol.Action {
			defer enter()()
			messages.Add(1)
			return protocol.Continue()
		},
		tick: func(*protocol.Peer) protocol.Action { defer enter()(); return protocol.Continue() },
	}), protocol.Options{Codec: protocol.Lines{}, Tick: 10 * time.Millisecond})
	nc, p := s.dial(t), <-peers
	const posters, each = 8, 2000
	var wg sync.WaitGroup
	for range posters {
		wg.Go(func() {
			for range each {
				if p.Post(1) == protocol.ErrMailboxFull {
					refused.Add(1)
					runtime.Gosched()
				}
			}
		})
	}
	in := bufio.NewScanner(nc)
	for range 2000 {
		if io.WriteString(nc, "x\n"); !in.Scan() {
			t.Fatal(in.Err())
		}
	}
	wg.Wait()
	for messages.Load()+refused.Load() < posters*each {
		runtime.Gosched()
	}
	if messages.Load()+refused.Load() != posters*each || frames.Load() != 2000 {
		t.Errorf("got %d messages delivered and %d refused, want %d in all; got %d frames, want 2000", messages.Load(), refused.Load(), posters*each, frames.Load())
	}
	nc.Close()
	<-s.ends
}

func TestMailboxPolicies(t *testing.T) {
	for _, c := range []struct {
		policy protocol.Overflow
		post   error // of the message that exceeds the limit
		got    string
		reason conns.Reason
	}{
		{"", protocol.ErrMailboxFull, "[0 1 2]", conns.PeerClosed},
		{protocol.DropNewest, protocol.ErrMailboxFull, "[0 1 2]", conns.PeerClosed},
		{protocol.DropOldest, nil, "[0 2 3]", conns.PeerClosed},
		{protocol.CloseSlow, protocol.ErrMailboxFull, "[0]", conns.Failed},
	} {
		synctest.Test(t, func(t *testing.T) {
			peers, block := make(chan *protocol.Peer, 1), make(chan bool)
			var got []any
			s := newTestServer(t, shared(&script{
				connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
				message: func(_ *protocol.Peer, m any) protocol.Action {
					got = append(got, m)
					<-block
					return protocol.Continue()
				},
			}), protocol.Options{Mailbox: 2, FullMailbox: c.policy})
			nc, p := s.dial(t), <-peers
			p.Post(0)
			synctest.Wait() // it is being handled
			p.Post(1)
			p.Post(2)
			if err := p.Post(3); err != c.post {
				t.Errorf("policy %q: Post: got %v, want %v", c.policy, err, c.post)
			}
			close(block)
			synctest.Wait()
			nc.Close()
			if e := <-s.ends; e.Reason != c.reason || fmt.Sprint(got) != c.got {
				t.Errorf("policy %q: got end %v (%v) and messages %v, want %v and %v", c.policy, e.Reason, e.Err, got, c.reason, c.got)
			}
		})
	}
}

// No callback runs after a panic, even if one is waiting.
func TestNothingAfterAPanic(t *testing.T) {
	for range 200 {
		peers, ready, after := make(chan *protocol.Peer, 1), make(chan bool), 0
		panicked := false
		s := newTestServer(t, shared(&script{
			connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
			data: func(*protocol.Peer, []byte) protocol.Action {
				if panicked {
					after++
				}
				return protocol.Continue()
			},
			message: func(*protocol.Peer, any) protocol.Action { <-ready; panicked = true; panic("message") },
		}), protocol.Options{})
		nc, p := s.dial(t), <-peers
		p.Post(1)
		go io.WriteString(nc, "x")
		ready <- true
		if e := <-s.ends; e.Reason != conns.Panicked || after != 0 {
			t.Fatalf("got end %v and %d callbacks after it, want %v and 0", e.Reason, after, conns.Panicked)
		}
		s.Stop()
		nc.Close()
	}
}

// A connection whose peer does not read ends after FlushTime, and at once after a panic.
func TestFlushTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		flush time.Duration
		data  func() protocol.Action
		want  time.Duration
	}{
		{"default", 0, protocol.Stop, 5 * time.Second},
		{"a minute", time.Minute, protocol.Stop, time.Minute},
		{"none", -1, protocol.Stop, 0},
		{"a panic", 0, func() protocol.Action { panic("data") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, shared(&script{data: func(p *protocol.Peer, _ []byte) protocol.Action {
					p.Send(make([]byte, 500_000))
					return c.data()
				}}), protocol.Options{FlushTime: c.flush})
				begin := time.Now()
				nc := s.dial(t)
				io.WriteString(nc, "x")
				if <-s.ends; time.Since(begin) != c.want {
					t.Errorf("got the end after %v, want %v", time.Since(begin), c.want)
				}
			})
		})
	}
}

// The last answer arrives over TLS, although the socket did not take all of its record at once.
func TestLastAnswerOverTLS(t *testing.T) {
	tr := secure(t, transport.TCP{WriteBuffer: 4096})
	for _, size := range []int{10, 16_000, 60_000, 300_000} {
		l, ends := listen(t, tr, shared(&script{data: func(p *protocol.Peer, _ []byte) protocol.Action {
			p.Send(make([]byte, size))
			return protocol.Stop()
		}}), protocol.Options{})
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.(*net.TCPConn).SetReadBuffer(32 << 10)
		c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		io.WriteString(c, "x")
		if b, err := io.ReadAll(c); len(b) != size || err != nil {
			t.Errorf("got %d bytes, %v, want %d", len(b), err, size)
		}
		if e := <-ends; e.Reason != conns.Finished {
			t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.Finished)
		}
		c.Close()
	}
}

// The methods of a Peer return ErrEnded after the end, and the first error given to Close counts.
func TestPeerAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *protocol.Peer, 1)
		g := new(protocol.Group)
		s := newTestServer(t, shared(&script{connect: func(p *protocol.Peer) protocol.Action { peers <- p; g.Join(p); return protocol.Continue() }}), protocol.Options{})
		nc, p := s.dial(t), <-peers
		fault := errors.New("enough")
		p.Close(fault)
		p.Close(nil)
		if e := <-s.ends; e.Reason != conns.Failed || !errors.Is(e.Err, fault) {
			t.Errorf("got end %v (%v), want %v (%v)", e.Reason, e.Err, conns.Failed, fault)
		}
		for what, err := range map[string]error{"Post": p.Post(1), "Send": p.Send([]byte("x")), "Join": g.Join(p), "Outbox.Send": p.Outbox().Send(nil)} {
			if !errors.Is(err, protocol.ErrEnded) {
				t.Errorf("%s: got %v, want %v", what, err, protocol.ErrEnded)
			}
		}
		if g.Count() != 0 || g.Leave(p) {
			t.Errorf("got a group of %d members, want it empty", g.Count())
		}
		nc.Close()
	})
}

// A stop waits for the callback in progress, and then calls only HandleShutdown and HandleClose.
func TestShutdownWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		s := newTestServer(t, shared(&script{
			data: func(*protocol.Peer, []byte) protocol.Action {
				time.Sleep(time.Second)
				calls = append(calls, "data")
				return protocol.Continue()
			},
			shutdown: func(*protocol.Peer) { calls = append(calls, "shutdown") },
			close:    func(*protocol.Peer, error) { calls = append(calls, "close") },
		}), protocol.Options{Codec: protocol.Lines{}})
		nc := s.dial(t)
		io.WriteString(nc, "a\n")
		synctest.Wait()
		s.Stop()
		if got, want := strings.Join(calls, " "), "data shutdown close"; got != want {
			t.Errorf("got calls %q, want %q", got, want)
		}
	})
}
