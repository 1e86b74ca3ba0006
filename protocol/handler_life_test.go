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

func secure(_ *testing.T, tcp transport.TCP) transport.TLS {
	return transport.TLS{TCP: tcp, Config: &tls.Config{Certificates: certificates(), InsecureSkipVerify: true}}
}

// An upgrade can be asked for by any callback; what others send meanwhile comes after it.
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
				s := serve(t, func() protocol.Handler { return h }, protocol.Options{Codec: protocol.Lines{}, Tick: time.Second, ReadTimeout: time.Minute})
				nc, p := s.dial(t), <-peers
				switch where {
				case "data":
					io.WriteString(nc, "begin\n")
				case "message":
					p.Post("begin")
				}
				line := make([]byte, 9)
				if _, err := io.ReadFull(nc, line); string(line) != "go ahead\n" || err != nil {
					t.Fatalf("%q, %v", line, err)
				}
				synctest.Wait()
				if err := p.Send([]byte("meanwhile")); err != nil {
					t.Error(err)
				}
				c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
				fmt.Fprintln(c, "hello")
				in := bufio.NewScanner(c)
				for _, want := range []string{"meanwhile", "hello"} {
					if in.Scan(); in.Text() != want {
						t.Errorf("%q, want %q; %v", in.Text(), want, in.Err())
					}
				}
				nc.Close()
				<-s.ends
			})
		})
	}
}

// Those who have to be told to what are told so; plain text behind the request is not taken for more.
func TestBadActions(t *testing.T) {
	for name, c := range map[string]struct {
		action protocol.Action
		in     string
		want   string
	}{
		"upgrade to nothing": {protocol.Upgrade(nil), "a\n", "upgrade to nothing"},
		"no handler":         {protocol.Switch(nil), "a\n", "no handler"},
		"injection":          {protocol.Upgrade(secure(t, transport.TCP{})), "a\nb\n", transport.ErrBuffered.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, one(&script{data: func(*protocol.Peer, []byte) protocol.Action { return c.action }}), protocol.Options{Codec: protocol.Lines{}})
				io.WriteString(s.dial(t), c.in)
				if e := <-s.ends; e.Err == nil || !strings.Contains(e.Err.Error(), c.want) {
					t.Errorf("%v: %v", e.Reason, e.Err)
				}
			})
		})
	}
}

// plain is a handler without add-ons.
type plain struct{ to protocol.Handler }

func (h plain) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Switch(h.to) }

// A handler that another has switched to gets its ticks, in their period even if that is no
// multiple of the wheel's.
func TestTicksAfterSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := 0
		to := &script{tick: func(*protocol.Peer) protocol.Action { ticks++; return protocol.Continue() }}
		s := serve(t, func() protocol.Handler { return plain{to} }, protocol.Options{Tick: 25 * time.Millisecond})
		nc := s.dial(t)
		io.WriteString(nc, "x")
		synctest.Wait()
		time.Sleep(25*time.Second + 22*time.Millisecond)
		synctest.Wait()
		if ticks != 1000 {
			t.Errorf("%d ticks", ticks)
		}
		nc.Close()
		<-s.ends
	})
}

// A tick that takes longer than its period is made up for once.
func TestSlowTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := 0
		s := serve(t, one(&script{tick: func(*protocol.Peer) protocol.Action {
			if ticks++; ticks == 1 {
				time.Sleep(10500 * time.Millisecond) // till 11.5
			}
			return protocol.Continue()
		}}), protocol.Options{Tick: time.Second})
		nc := s.dial(t)
		time.Sleep(14*time.Second + 200*time.Millisecond)
		synctest.Wait()
		if ticks != 5 { // 1, 11.5, 12, 13, 14
			t.Errorf("%d ticks", ticks)
		}
		nc.Close()
		<-s.ends
	})
}

// Callbacks are one at a time, whoever floods the mailbox; nothing that was taken is lost.
func TestFlood(t *testing.T) {
	var inside, frames, messages, refused atomic.Int64
	turn := func() func() {
		if inside.Add(1) != 1 {
			t.Error("two callbacks at once")
		}
		return func() { inside.Add(-1) }
	}
	peers := make(chan *protocol.Peer, 1)
	s := serve(t, one(&script{
		connect: func(p *protocol.Peer) protocol.Action { peers <- p; return protocol.Continue() },
		data: func(p *protocol.Peer, b []byte) protocol.Action {
			defer turn()()
			frames.Add(1)
			p.Send(b)
			return protocol.Continue()
		},
		message: func(*protocol.Peer, any) protocol.Action { defer turn()(); messages.Add(1); return protocol.Continue() },
		tick:    func(*protocol.Peer) protocol.Action { defer turn()(); return protocol.Continue() },
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
		t.Errorf("%d messages, %d refused, %d frames", messages.Load(), refused.Load(), frames.Load())
	}
	nc.Close()
	<-s.ends
}

func TestMailboxPolicies(t *testing.T) {
	for _, c := range []struct {
		policy protocol.FullMailbox
		post   error // of the one too many
		got    string
		reason conns.Reason
	}{
		{protocol.RefuseMessage, protocol.ErrMailboxFull, "[0 1 2]", conns.PeerClosed},
		{protocol.ForgetOldest, nil, "[0 2 3]", conns.PeerClosed},
		{protocol.CloseBusy, protocol.ErrMailboxFull, "[0]", conns.Failed},
	} {
		synctest.Test(t, func(t *testing.T) {
			peers, block := make(chan *protocol.Peer, 1), make(chan bool)
			var got []any
			s := serve(t, one(&script{
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
				t.Errorf("%v: %v", c.policy, err)
			}
			close(block)
			synctest.Wait()
			nc.Close()
			if e := <-s.ends; e.Reason != c.reason || fmt.Sprint(got) != c.got {
				t.Errorf("policy %v: %v, %v; %v", c.policy, e.Reason, e.Err, got)
			}
		})
	}
}

// No callback follows one that has panicked, however many are waiting for their turn.
func TestNothingAfterAPanic(t *testing.T) {
	for range 200 {
		peers, ready, after := make(chan *protocol.Peer, 1), make(chan bool), 0
		panicked := false
		s := serve(t, one(&script{
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
			t.Fatalf("%v, %d callbacks after it", e.Reason, after)
		}
		s.Stop()
		nc.Close()
	}
}

// The end waits for a peer that reads nothing for FlushTime, and not at all after a panic.
func TestFlushTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		flush time.Duration
		data  func() protocol.Action
		want  time.Duration
	}{
		{"default", 0, protocol.Stop, protocol.DefaultFlushTime},
		{"a minute", time.Minute, protocol.Stop, time.Minute},
		{"none", -1, protocol.Stop, 0},
		{"a panic", 0, func() protocol.Action { panic("data") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, one(&script{data: func(p *protocol.Peer, _ []byte) protocol.Action {
					p.Send(make([]byte, 500_000))
					return c.data()
				}}), protocol.Options{FlushTime: c.flush})
				begin := time.Now()
				nc := s.dial(t)
				io.WriteString(nc, "x")
				if <-s.ends; time.Since(begin) != c.want {
					t.Errorf("after %v", time.Since(begin))
				}
			})
		})
	}
}

// Over TLS the last answer arrives too, although the socket has not taken all of its record.
func TestLastAnswerOverTLS(t *testing.T) {
	tr := secure(t, transport.TCP{WriteBuffer: 4096})
	for _, size := range []int{10, 16_000, 60_000, 300_000} {
		l, ends := serveOver(t, tr, one(&script{data: func(p *protocol.Peer, _ []byte) protocol.Action {
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
			t.Errorf("%d bytes of %d, %v", len(b), size, err)
		}
		if e := <-ends; e.Reason != conns.Finished {
			t.Errorf("%v: %v", e.Reason, e.Err)
		}
		c.Close()
	}
}

// A peer can be used by anybody while, and after, it ends.
func TestPeerAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := make(chan *protocol.Peer, 1)
		g := protocol.NewGroup(nil)
		s := serve(t, one(&script{connect: func(p *protocol.Peer) protocol.Action { peers <- p; g.Join(p); return protocol.Continue() }}), protocol.Options{})
		nc, p := s.dial(t), <-peers
		fault := errors.New("enough")
		p.Close(fault)
		p.Close(nil) // the first counts
		if e := <-s.ends; e.Reason != conns.Failed || !errors.Is(e.Err, fault) {
			t.Errorf("%v: %v", e.Reason, e.Err)
		}
		for what, err := range map[string]error{"Post": p.Post(1), "Send": p.Send([]byte("x")), "Join": g.Join(p), "SendEncoded": p.SendEncoded(nil)} {
			if !errors.Is(err, protocol.ErrEnded) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if g.Count() != 0 || !errors.Is(g.Leave(p), protocol.ErrNotMember) {
			t.Error("still a member")
		}
		nc.Close()
	})
}

// A stop while a callback is busy waits for it, and calls nothing else but HandleShutdown and HandleClose.
func TestShutdownWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		s := serve(t, one(&script{
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
		if got := strings.Join(calls, " "); got != "data shutdown close" {
			t.Error(got)
		}
	})
}
