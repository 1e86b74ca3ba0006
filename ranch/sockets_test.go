package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"goranch/faults"
	"goranch/ranch"
	"goranch/transport"
)

func skipUnlessPortsShared(t testing.TB) {
	if runtime.GOOS != "linux" {
		t.Skip("several sockets on one port need Linux")
	}
}

// countingTransport counts the connections that each of its sockets accepts.
type countingTransport struct {
	transport.Transport
	mu      sync.Mutex
	sockets []*countingListener
}

type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (c *countingTransport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return c.count(c.Transport.Listen(ctx, addr))
}

func (c *countingTransport) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	return c.count(c.Transport.(transport.PortSharer).ListenShared(ctx, addr))
}

func (c *countingTransport) count(ln net.Listener, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	l := &countingListener{Listener: ln}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets = append(c.sockets, l)
	return l, nil
}

func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return nc, err
}

func (l *countingListener) SetDeadline(t time.Time) error {
	return l.Listener.(*net.TCPListener).SetDeadline(t)
}

// Every socket is on the one port and has acceptors, and the cap applies to all together.
func TestAcceptorsAndSockets(t *testing.T) {
	skipUnlessPortsShared(t)
	for _, m := range testTransports()[:2] {
		base, tests := m.t, []struct{ acceptors, sockets int }{{10, 10}, {9, 4}, {10, 1}, {1, 1}, {0, 3}, {0, 12}}
		if base.Secure() {
			tests = tests[:2] // handshakes take time
		}
		for _, c := range tests {
			t.Run(fmt.Sprintf("%s %d over %d", base.Name(), c.acceptors, c.sockets), func(t *testing.T) {
				tr := &countingTransport{Transport: base}
				var addrs []string
				l, rec := startListener(t, tr, ranch.Options{
					Addr: loopbackAddr(t), HandshakeTimeout: testTimeout, NumAcceptors: c.acceptors, NumListenSockets: c.sockets, MaxConnections: 25,
					PostListen: func(ln net.Listener) error { addrs = append(addrs, ln.Addr().String()); return nil },
				}, greetAndReturn(greeting))
				acceptors := c.acceptors
				if acceptors == 0 {
					acceptors = max(10, c.sockets)
				}
				if i := l.Info(); i.NumAcceptors != acceptors || i.NumListenSockets != c.sockets {
					t.Errorf("got %s, want %d acceptors and %d sockets", pretty(i), acceptors, c.sockets)
				}
				if n := len(rec.wait(t, ranch.AcceptorStarted, acceptors)); n != acceptors {
					t.Errorf("got %d acceptors started, want %d", n, acceptors)
				}
				if len(addrs) != c.sockets {
					t.Errorf("got %d sockets, want %d", len(addrs), c.sockets)
				}
				for _, a := range addrs {
					if a != l.Addr().String() {
						t.Errorf("got a socket at %s, want %v", a, l.Addr())
					}
				}
				const clients = 200
				servedClients(t, tr, dialAddr(l), clients)
				waitActive(t, l, 0)
				if i := l.Info(); i.Accepted != clients || i.PeakConnections > 25 {
					t.Errorf("got %s, want %d accepted and a peak of at most 25", pretty(i), clients)
				}
				for i, s := range tr.sockets {
					if s.accepted.Load() == 0 {
						t.Errorf("socket %d of %d: got 0 of %d connections, want some", i, c.sockets, clients)
					}
				}
			})
		}
	}
}

// Each socket needs an acceptor, and the transport must be able to share an address.
func TestTooManySockets(t *testing.T) {
	for _, c := range []struct {
		name string
		t    transport.Transport // nil: TCP
		opts ranch.Options
		want error
	}{
		{"1 over 10", nil, ranch.Options{Addr: loopbackAddr(t), NumAcceptors: 1, NumListenSockets: 10}, ranch.ErrBadOption},
		{"Unix", nil, ranch.Options{Addr: unixAddr(t), NumListenSockets: 2}, errors.ErrUnsupported},
		{"no PortSharer", new(transport.Mem), ranch.Options{NumListenSockets: 2}, errors.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.t == nil {
				c.t = transport.TCP{}
			}
			if _, _, err := tryStartListener(t, new(ranch.Server), c.t, c.opts, greetAndEcho); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// Just below the cap there are fewer free slots than sockets. A client is served while a slot is
// free, at whichever socket it waits.
func TestNoSocketStarves(t *testing.T) {
	skipUnlessPortsShared(t)
	for _, m := range testTransports()[:2] {
		t.Run(m.name, func(t *testing.T) {
			l, rec := m.startListener(t, ranch.Options{NumListenSockets: 4, NumAcceptors: 8, MaxConnections: 3}, greetAndEcho)
			m.servedClients(t, l, 2)
			for range 12 {
				v := m.newClient(t, l).waitServed(t)
				v.checkEcho(t)
				v.close()
				waitActive(t, l, 2)
			}
			if got := l.Info(); got.PeakConnections > 3 || got.AcceptErrors != 0 {
				t.Errorf("got %s, %v, want a peak of at most 3 and no errors", pretty(got), rec.ofKind(ranch.AcceptFailed))
			}
		})
	}
}

// The same holds for sockets on which accept cannot be interrupted.
func TestNoUninterruptibleSocketStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := faults.NewTransport(new(transport.Mem), faults.NewSource(1), faults.Options{NoDeadline: true})
		l, _ := startListener(t, tr, ranch.Options{Addr: "several", NumListenSockets: 4, NumAcceptors: 8, MaxConnections: 3}, greetAndEcho)
		servedClients(t, tr, dialAddr(l), 2)
		for range 50 {
			v := newClient(t, tr, dialAddr(l))
			time.Sleep(time.Second)
			if v.waiting() {
				t.Fatalf("got a client that waits with a free slot, %s, want it served", pretty(l.Info()))
			}
			v.waitServed(t).close()
			waitActive(t, l, 2)
		}
	})
}

// A drain that waits for another one does not stop the clock of a bubble.
func TestConcurrentDrainsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := startListener(t, new(transport.Mem), ranch.Options{DrainDelay: time.Minute}, greetAndEcho)
		var wg sync.WaitGroup
		begin := time.Now()
		for range 2 {
			wg.Go(func() { l.Drain(context.Background()) })
		}
		wg.Wait()
		if got := time.Since(begin); got != time.Minute {
			t.Errorf("two drains: got %v, want 1m", got)
		}
	})
}

// A socket that other code closes is reopened on the shared port, and the other sockets go on.
func TestOneOfSeveralSocketsIsClosed(t *testing.T) {
	skipUnlessPortsShared(t)
	for _, m := range testTransports()[:2] {
		t.Run(m.name, func(t *testing.T) {
			var mu sync.Mutex
			var lns []net.Listener
			l, rec := m.startListener(t, ranch.Options{NumListenSockets: 4, PostListen: func(ln net.Listener) error {
				mu.Lock()
				defer mu.Unlock()
				lns = append(lns, ln)
				return nil
			}}, greetAndEcho)
			before := m.servedClients(t, l, 10)
			for i := range 4 {
				lns[i].Close()
				rec.wait(t, ranch.SocketReopened, i+1)
			}
			for _, v := range append(before, m.servedClients(t, l, 50)...) {
				v.checkEcho(t)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(lns) != 8 {
				t.Errorf("got %d sockets opened, want 8", len(lns))
			}
		})
	}
}

// A second listener with several sockets does not join the port of the first unnoticed, as two
// daemons started by mistake would.
func TestSharedPortIsNotJoined(t *testing.T) {
	skipUnlessPortsShared(t)
	first, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", NumListenSockets: 2}, greetAndEcho)
	for _, tr := range []transport.Transport{transport.TCP{}, transport.TLS{Config: testTLSConfig()}} {
		_, _, err := tryStartListener(t, new(ranch.Server), tr, ranch.Options{Addr: dialAddr(first), NumListenSockets: 2}, greetAndEcho)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: got %v, want %v", tr.Name(), err, syscall.EADDRINUSE)
		}
	}
	if err := errors.Join(first.Suspend(), first.Resume()); err != nil {
		t.Errorf("resume: got %v, want nil", err)
	}
}

// A Unix socket with a relative path stays where it was when the working directory changes.
func TestRelativeUnixPathAfterChdir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: Unix sockets of Windows are not tested; to run this test: go test ./ranch on Linux")
	}
	dir, err := os.MkdirTemp("", "r") // the paths of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Chdir(dir)
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "unix:s"}, greetAndEcho)
	other := t.TempDir()
	t.Chdir(other)
	if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Errorf("after the resume: got %v, want the socket in its first directory", err)
	} else {
		nc.Close()
	}
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, other} {
		if files, _ := os.ReadDir(d); len(files) > 0 {
			t.Errorf("after the stop: got file %s in %s, want none", files[0].Name(), d)
		}
	}
}
