package ranch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// All faults of the arguments are reported at once, each with the field, the value and what is
// allowed.
func TestBadOptions(t *testing.T) {
	tcp := transport.TCP{}
	for _, c := range []struct {
		name string
		ref  string
		t    transport.Transport
		opts ranch.Options
		p    protocol.Protocol
		want []string
	}{
		{"nil transport", ref, nil, ranch.Options{}, greetAndEcho, []string{"transport nil", "transport.TCP{}"}},
		{"nil protocol", ref, tcp, ranch.Options{}, nil, []string{"protocol nil"}},
		{"no name", "", tcp, ranch.Options{}, greetAndEcho, []string{`ref ""`}},
		{"NumAcceptors", ref, tcp, ranch.Options{NumAcceptors: -3}, greetAndEcho, []string{"NumAcceptors -3", "1 to 10000"}},
		{"too many acceptors", ref, tcp, ranch.Options{NumAcceptors: 1_000_000}, greetAndEcho, []string{"NumAcceptors 1000000", "1 to 10000"}},
		{"NumListenSockets", ref, tcp, ranch.Options{NumListenSockets: -1}, greetAndEcho, []string{"NumListenSockets -1", "1 to 10000"}},
		{"1 acceptor over 10 sockets", ref, tcp, ranch.Options{NumAcceptors: 1, NumListenSockets: 10}, greetAndEcho, []string{"NumAcceptors 1", "from 10, one for each listening socket"}},
		{"MaxConnections", ref, tcp, ranch.Options{MaxConnections: -1}, greetAndEcho, []string{"MaxConnections -1", "positive numbers", "Unlimited"}},
		{"ShutdownTimeout", ref, tcp, ranch.Options{ShutdownTimeout: -time.Second}, greetAndEcho, []string{"ShutdownTimeout -1s", "BrutalKill and Infinity"}},
		{"DrainDelay", ref, tcp, ranch.Options{DrainDelay: -time.Second}, greetAndEcho, []string{"DrainDelay -1s", "0 for none"}},
		{"DrainSpread", ref, tcp, ranch.Options{DrainSpread: -1}, greetAndEcho, []string{"DrainSpread -1ns", "0 for none"}},
		{"Addr", ref, tcp, ranch.Options{Addr: "nowhere"}, greetAndEcho, []string{"Addr", `"nowhere"`, "host:port"}},
		{"Addr for TLS", ref, testTransports()[1].t, ranch.Options{Addr: "unix:"}, greetAndEcho, []string{"Addr", `"unix:"`}},
		{"the transport's", ref, transport.TCP{Backlog: -1, Network: "udp"}, ranch.Options{}, greetAndEcho, []string{"transport tcp", "Backlog -1", `Network "udp"`}},
		{"all at once", "", transport.TCP{ReadBuffer: -7}, ranch.Options{Addr: "x", NumAcceptors: -1, NumListenSockets: -2, MaxConnections: -3, ShutdownTimeout: -4}, nil, []string{
			`ref ""`, "protocol nil", "NumAcceptors -1", "NumListenSockets -2", "MaxConnections -3", "ShutdownTimeout -4ns", `"x"`, "ReadBuffer -7",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s ranch.Server
			_, err := s.StartListener(c.ref, c.t, c.opts, c.p)
			if !errors.Is(err, ranch.ErrBadOption) {
				t.Fatalf("got %v, want %v", err, ranch.ErrBadOption)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to contain %q", err, want)
				}
			}
			if _, err := ranch.NewListener(c.ref, c.t, c.opts, c.p); !errors.Is(err, ranch.ErrBadOption) {
				t.Errorf("NewListener: got %v, want %v", err, ranch.ErrBadOption)
			}
			if got := s.Listeners(); got != nil {
				t.Errorf("got listeners %v, want none", got)
			}
		})
	}
}

// Zero values are the documented defaults.
func TestDefaults(t *testing.T) {
	l, err := ranch.NewListener(ref, transport.TCP{}, ranch.Options{}, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	got := l.Options()
	if got.Logger == nil {
		t.Error("Logger: got nil, want slog.Default()")
	}
	got.Logger = nil
	want := ranch.Options{Addr: ":0", NumAcceptors: 10, NumListenSockets: 1, MaxConnections: 1024, HandshakeTimeout: 5 * time.Second, ShutdownTimeout: 5 * time.Second, Limits: conns.Limits{ParkAfter: time.Second}, Evict: conns.EvictNone}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// brokenTransport is a transport whose Listen fails.
type brokenTransport struct {
	transport.TCP
	err error
}

func (b brokenTransport) Listen(context.Context, string) (net.Listener, error) { return nil, b.err }

// A start that fails returns an error that programs can test, and leaves nothing: the name is free,
// the socket is closed, and no goroutine runs.
func TestStartFails(t *testing.T) {
	unrelated := goleak.IgnoreCurrent()
	taken, err := net.Listen("tcp", loopbackAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := strings.TrimPrefix(unixAddr(t), "unix:")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	forbidden := transport.TCP{Control: func(string, string, syscall.RawConn) error { return syscall.EACCES }}
	for _, c := range []struct {
		name string
		t    transport.Transport
		opts ranch.Options
		want []error
		text string
	}{
		{"address in use", transport.TCP{}, ranch.Options{Addr: taken.Addr().String()}, []error{syscall.EADDRINUSE}, "address already in use"},
		{"in use, TLS", testTransports()[1].t, ranch.Options{Addr: taken.Addr().String()}, []error{syscall.EADDRINUSE}, ""},
		{"in use, several sockets", transport.TCP{}, ranch.Options{Addr: taken.Addr().String(), NumListenSockets: 3}, []error{syscall.EADDRINUSE}, ""},
		{"a file in the socket's place", transport.TCP{}, ranch.Options{Addr: "unix:" + path}, []error{syscall.EADDRINUSE}, "not a socket"},
		{"permission", forbidden, ranch.Options{Addr: loopbackAddr(t)}, []error{fs.ErrPermission, syscall.EACCES}, "permission denied"},
		{"no certificate", transport.TLS{}, ranch.Options{}, []error{transport.ErrNoCertificate}, "GetCertificate"},
		{"an empty TLS configuration", transport.TLS{Config: new(tls.Config)}, ranch.Options{}, []error{transport.ErrNoCertificate}, ""},
		{"not our address", transport.TCP{}, ranch.Options{Addr: "192.0.2.1:0"}, []error{syscall.EADDRNOTAVAIL}, "192.0.2.1"},
		{"the transport's own", brokenTransport{err: errTest}, ranch.Options{}, []error{errTest}, errTest.Error()},
		{"PostListen", transport.TCP{}, ranch.Options{Addr: loopbackAddr(t), PostListen: func(net.Listener) error { return errTest }}, []error{errTest}, "PostListen: test error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s ranch.Server
			c.opts.Logger = discardLogger
			l, err := s.StartListener(ref, c.t, c.opts, greetAndEcho)
			if l != nil {
				t.Error("got a listener and an error, want nil and an error")
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if want := "ranch: start " + ref + ": "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want an error that begins with %q", err, want)
			}
			if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), ref) {
				t.Errorf("got %v, want it to contain %q and %q", err, c.text, ref)
			}
			if _, err := s.Listener(ref); !errors.Is(err, ranch.ErrNotFound) {
				t.Errorf("name after the failure: got %v, want %v", err, ranch.ErrNotFound)
			}
			if err := goleak.Find(unrelated); err != nil {
				t.Error(err)
			}
			if _, _, err := tryStartListener(t, &s, transport.TCP{}, ranch.Options{Addr: loopbackAddr(t)}, greetAndEcho); err != nil {
				t.Errorf("start under the same name: got %v, want nil", err)
			}
		})
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("file at the address: got %q, %v, want it unchanged", got, err)
	}
}

// If one of several sockets cannot be opened, the others are closed.
func TestStartFailsHalfWay(t *testing.T) {
	f := &fakeTransport{listen: func(n int) error {
		if n == 3 {
			return errTest
		}
		return nil
	}}
	// Several sockets on one address, as in a kernel.
	tr := &sharingTransport{fakeTransport: f}
	if _, _, err := tryStartListener(t, new(ranch.Server), tr, ranch.Options{NumListenSockets: 5}, greetAndEcho); !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	if got := f.openAddrs(); got != nil {
		t.Errorf("got open addresses %v, want none", got)
	}
	if got := f.listens(); got != 3 {
		t.Errorf("got %d calls of Listen, want 3", got)
	}
}

type sharingTransport struct{ *fakeTransport }

func (s *sharingTransport) ListenShared(ctx context.Context, _ string) (net.Listener, error) {
	return s.fakeTransport.Listen(ctx, ":0")
}

// A name is taken until the listener has stopped.
func TestNameIsTaken(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		stuck := newBlockingProtocol(t)
		l, rec, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t), ShutdownTimeout: ranch.Infinity}, stuck)
		if err != nil {
			t.Fatal(err)
		}
		another := func() error {
			_, _, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
			return err
		}
		if err := another(); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("second start: got %v, want %v", err, ranch.ErrAlreadyStarted)
		}
		m.servedClients(t, l, 1)
		stopped := make(chan error, 1)
		go func() { stopped <- l.Stop() }()
		rec.wait(t, ranch.AcceptorStopped, 10)
		if err := another(); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("start during the stop: got %v, want %v", err, ranch.ErrAlreadyStarted)
		}
		stuck.unblock()
		if err := receive(t, "Stop returns", stopped); err != nil {
			t.Fatal(err)
		}
		if err := another(); err != nil {
			t.Errorf("start after the stop: got %v, want nil", err)
		}
	})
}

// A start in progress has taken its name, but the listener is not found yet.
func TestNameIsTakenDuringTheStart(t *testing.T) {
	var s ranch.Server
	begun, goOn := make(chan struct{}), make(chan struct{})
	opts := ranch.Options{Addr: loopbackAddr(t), PostListen: func(net.Listener) error { close(begun); <-goOn; return nil }}
	started := make(chan error, 1)
	go func() {
		_, _, err := tryStartListener(t, &s, transport.TCP{}, opts, greetAndEcho)
		started <- err
	}()
	receive(t, "the start begins", begun)
	if _, _, err := tryStartListener(t, &s, transport.TCP{}, ranch.Options{Addr: loopbackAddr(t)}, greetAndEcho); !errors.Is(err, ranch.ErrAlreadyStarted) {
		t.Errorf("second start: got %v, want %v", err, ranch.ErrAlreadyStarted)
	}
	if l, err := s.Listener(ref); !errors.Is(err, ranch.ErrNotFound) {
		t.Errorf("got %v, %v, want %v", l, err, ranch.ErrNotFound)
	}
	if got := s.Listeners(); got != nil {
		t.Errorf("got listeners %v, want none", got)
	}
	close(goOn)
	if err := receive(t, "the start returns", started); err != nil {
		t.Error(err)
	}
}

// A listener can be found by its name from its first event on: an observer may stop it before the
// start has returned. Then the name is free.
func TestStoppedByItsFirstEvent(t *testing.T) {
	for range 500 {
		var s ranch.Server
		stopped := make(chan error, 1)
		_, err := s.StartListener(ref, new(fakeTransport), ranch.Options{NumAcceptors: 1, Logger: discardLogger, Observer: func(e ranch.Event) {
			if e.Kind == ranch.ListenerStarted {
				l, err := s.Listener(ref)
				if err != nil || l.Info().Status != ranch.Running {
					t.Errorf("got %v, want a running listener", err)
				}
				go func() { stopped <- l.Stop() }()
			}
		}}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "Stop returns", stopped); err != nil {
			t.Fatal(err)
		}
		if got := s.Listeners(); got != nil {
			t.Fatalf("got listeners %v, want none", got)
		}
	}
}

// Every operation on an unknown name returns ErrNotFound.
func TestUnknownName(t *testing.T) {
	const ref = "unknown"
	ctx := context.Background()
	for name, f := range map[string]func() error{
		"StopListener":       func() error { return ranch.StopListener(ref) },
		"SuspendListener":    func() error { return ranch.SuspendListener(ref) },
		"ResumeListener":     func() error { return ranch.ResumeListener(ref) },
		"SetMaxConnections":  func() error { return ranch.SetMaxConnections(ref, 1) },
		"MaxConnections":     func() error { _, err := ranch.MaxConnections(ref); return err },
		"SetProtocol":        func() error { return ranch.SetProtocol(ref, greetAndEcho) },
		"WaitForConnections": func() error { return ranch.WaitForConnections(ctx, ref, ranch.Equal, 0) },
		"Drain":              func() error { return ranch.Drain(ctx, ref) },
		"Info":               func() error { _, err := ranch.Info(ref); return err },
		"Listener":           func() error { _, err := ranch.Default.Listener(ref); return err },
	} {
		if err := f(); !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("%s: got %v, want %v", name, err, ranch.ErrNotFound)
		}
	}
	if err := new(ranch.Server).Drain(ctx); err != nil {
		t.Errorf("Drain without listeners: got %v, want nil", err)
	}
	ranch.RemoveConnection(transport.NewConn(transport.TCP{}, nil)) // not of a listener
}
