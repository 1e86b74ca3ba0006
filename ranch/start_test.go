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

// Whatever is wrong with the arguments is said at once: every fault, with the field, the
// value and what is allowed.
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
		{"nil transport", ref, nil, ranch.Options{}, answer, []string{"transport nil", "transport.TCP{}"}},
		{"nil protocol", ref, tcp, ranch.Options{}, nil, []string{"protocol nil"}},
		{"no name", "", tcp, ranch.Options{}, answer, []string{`ref ""`}},
		{"NumAcceptors", ref, tcp, ranch.Options{NumAcceptors: -3}, answer, []string{"NumAcceptors -3", "1 to 10000"}},
		{"too many acceptors", ref, tcp, ranch.Options{NumAcceptors: 1_000_000}, answer, []string{"NumAcceptors 1000000", "1 to 10000"}},
		{"NumListenSockets", ref, tcp, ranch.Options{NumListenSockets: -1}, answer, []string{"NumListenSockets -1", "1 to 10000"}},
		{"1 acceptor over 10 sockets", ref, tcp, ranch.Options{NumAcceptors: 1, NumListenSockets: 10}, answer, []string{"NumAcceptors 1", "from 10, one for each listening socket"}},
		{"MaxConnections", ref, tcp, ranch.Options{MaxConnections: -1}, answer, []string{"MaxConnections -1", "positive numbers", "Unlimited"}},
		{"ShutdownTimeout", ref, tcp, ranch.Options{ShutdownTimeout: -time.Second}, answer, []string{"ShutdownTimeout -1s", "BrutalKill and Infinity"}},
		{"Addr", ref, tcp, ranch.Options{Addr: "nowhere"}, answer, []string{"Addr", `"nowhere"`, "host:port"}},
		{"Addr for TLS", ref, media()[1].t, ranch.Options{Addr: "unix:"}, answer, []string{"Addr", `"unix:"`}},
		{"the transport's", ref, transport.TCP{Backlog: -1, Network: "udp"}, ranch.Options{}, answer, []string{"transport tcp", "Backlog -1", `Network "udp"`}},
		{"all at once", "", transport.TCP{ReadBuffer: -7}, ranch.Options{Addr: "x", NumAcceptors: -1, NumListenSockets: -2, MaxConnections: -3, ShutdownTimeout: -4}, nil, []string{
			`ref ""`, "protocol nil", "NumAcceptors -1", "NumListenSockets -2", "MaxConnections -3", "ShutdownTimeout -4ns", `"x"`, "ReadBuffer -7",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s ranch.Server
			_, err := s.StartListener(c.ref, c.t, c.opts, c.p)
			if !errors.Is(err, ranch.ErrBadOption) {
				t.Fatalf("it is no ErrBadOption: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if _, err := ranch.NewListener(c.ref, c.t, c.opts, c.p); !errors.Is(err, ranch.ErrBadOption) {
				t.Errorf("NewListener: %v", err)
			}
			if got := s.Listeners(); got != nil {
				t.Errorf("listeners: %v", got)
			}
		})
	}
}

// Zero values are the defaults, as documented.
func TestDefaults(t *testing.T) {
	l, err := ranch.NewListener(ref, transport.TCP{}, ranch.Options{}, answer)
	if err != nil {
		t.Fatal(err)
	}
	got := l.Options()
	if got.Logger == nil {
		t.Error("no logger")
	}
	got.Logger = nil
	want := ranch.Options{Addr: ":0", NumAcceptors: 10, NumListenSockets: 1, MaxConnections: 1024, HandshakeTimeout: 5 * time.Second, ShutdownTimeout: 5 * time.Second, Limits: conns.Limits{ParkAfter: time.Second}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// broken is a transport whose listen fails with an error of its own.
type broken struct {
	transport.TCP
	err error
}

func (b broken) Listen(context.Context, string) (net.Listener, error) { return nil, b.err }

// A start that fails says why, in a way that a program can test for, and leaves nothing:
// the name is free, the socket closed, no goroutine runs.
func TestStartFails(t *testing.T) {
	unrelated := goleak.IgnoreCurrent()
	taken, err := net.Listen("tcp", loopback(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := strings.TrimPrefix(socketFile(t), "unix:")
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
		{"address in use", transport.TCP{}, ranch.Options{Addr: taken.Addr().String()}, []error{ranch.ErrAddrInUse, syscall.EADDRINUSE}, "address already in use"},
		{"in use, TLS", media()[1].t, ranch.Options{Addr: taken.Addr().String()}, []error{ranch.ErrAddrInUse}, ""},
		{"in use, several sockets", transport.TCP{}, ranch.Options{Addr: taken.Addr().String(), NumListenSockets: 3}, []error{ranch.ErrAddrInUse}, ""},
		{"a file in the socket's place", transport.TCP{}, ranch.Options{Addr: "unix:" + path}, []error{ranch.ErrAddrInUse}, "not a socket"},
		{"permission", forbidden, ranch.Options{Addr: loopback(t)}, []error{ranch.ErrPermission, fs.ErrPermission, syscall.EACCES}, "permission denied"},
		{"no certificate", transport.TLS{}, ranch.Options{}, []error{ranch.ErrNoCertificate}, "GetCertificate"},
		{"an empty TLS configuration", transport.TLS{Config: new(tls.Config)}, ranch.Options{}, []error{ranch.ErrNoCertificate}, ""},
		{"not our address", transport.TCP{}, ranch.Options{Addr: "192.0.2.1:0"}, []error{syscall.EADDRNOTAVAIL}, "192.0.2.1"},
		{"the transport's own", broken{err: errNotToday}, ranch.Options{}, []error{errNotToday}, errNotToday.Error()},
		{"PostListen", transport.TCP{}, ranch.Options{Addr: loopback(t), PostListen: func(net.Listener) error { return errNotToday }}, []error{errNotToday}, "PostListen: not today"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s ranch.Server
			c.opts.Logger = quiet
			l, err := s.StartListener(ref, c.t, c.opts, answer)
			if l != nil {
				t.Error("there is a listener besides the error")
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("%v is no %v", err, want)
				}
			}
			var re *ranch.Error
			if !errors.As(err, &re) || re.Op != "start" || re.Ref != ref {
				t.Errorf("it does not say what failed: %#v", err)
			}
			if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), ref) {
				t.Errorf("its text: %v", err)
			}
			if _, err := s.Listener(ref); !errors.Is(err, ranch.ErrNotFound) {
				t.Errorf("the name after the failure: %v", err)
			}
			if err := goleak.Find(unrelated); err != nil {
				t.Error(err)
			}
			if _, _, err := tryStart(t, &s, transport.TCP{}, ranch.Options{Addr: loopback(t)}, answer); err != nil {
				t.Errorf("starting under the same name: %v", err)
			}
		})
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file that was there: %q, %v", got, err)
	}
}

// Of the several sockets of a listener none stays open when one of them fails.
func TestStartFailsHalfWay(t *testing.T) {
	f := &fake{listen: func(n int) error {
		if n == 3 {
			return errNotToday
		}
		return nil
	}}
	// A fake that lets several listen at one place, as a kernel does.
	tr := &sharing{fake: f}
	if _, _, err := tryStart(t, new(ranch.Server), tr, ranch.Options{NumListenSockets: 5}, answer); !errors.Is(err, errNotToday) {
		t.Fatal(err)
	}
	if got := f.left(); got != nil {
		t.Errorf("still open: %v", got)
	}
	if got := f.listens(); got != 3 {
		t.Errorf("Listen was called %d times", got)
	}
}

type sharing struct{ *fake }

func (s *sharing) ListenShared(ctx context.Context, _ string) (net.Listener, error) {
	return s.fake.Listen(ctx, ":0")
}

// A name is taken from the begin of a start to the end of a stop.
func TestNameIsTaken(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		var s ranch.Server
		stuck := newDeaf(t)
		l, rec, err := tryStart(t, &s, m.t, ranch.Options{Addr: m.addr(t), ShutdownTimeout: ranch.Infinity}, stuck)
		if err != nil {
			t.Fatal(err)
		}
		another := func() error {
			_, _, err := tryStart(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, answer)
			return err
		}
		if err := another(); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("a second of that name: %v", err)
		}
		m.guests(t, l, 1)
		stopped := make(chan error, 1)
		go func() { stopped <- l.Stop() }()
		rec.wait(t, ranch.AcceptorStopped, 10)
		if err := another(); !errors.Is(err, ranch.ErrAlreadyStarted) {
			t.Errorf("while the first is stopping: %v", err)
		}
		stuck.free()
		if err := await(t, "the stop returns", stopped); err != nil {
			t.Fatal(err)
		}
		if err := another(); err != nil {
			t.Errorf("after the stop: %v", err)
		}
	})
}

// A start that is under way holds its name, but there is no listener yet.
func TestNameIsClaimedBeforeTheStart(t *testing.T) {
	var s ranch.Server
	begun, goOn := make(chan struct{}), make(chan struct{})
	opts := ranch.Options{Addr: loopback(t), PostListen: func(net.Listener) error { close(begun); <-goOn; return nil }}
	started := make(chan error, 1)
	go func() {
		_, _, err := tryStart(t, &s, transport.TCP{}, opts, answer)
		started <- err
	}()
	await(t, "the start begins", begun)
	if _, _, err := tryStart(t, &s, transport.TCP{}, ranch.Options{Addr: loopback(t)}, answer); !errors.Is(err, ranch.ErrAlreadyStarted) {
		t.Errorf("a second start: %v", err)
	}
	if l, err := s.Listener(ref); !errors.Is(err, ranch.ErrNotFound) {
		t.Errorf("got %v, %v, want %v", l, err, ranch.ErrNotFound)
	}
	if got := s.Listeners(); got != nil {
		t.Errorf("listeners: %v", got)
	}
	close(goOn)
	if err := await(t, "the start returns", started); err != nil {
		t.Error(err)
	}
}

// A listener is known by its name from its first moment on: its observer may ask for it,
// and stop it before the start has returned. Then the name is free.
func TestStoppedInItsFirstMoment(t *testing.T) {
	for range 500 {
		var s ranch.Server
		stopped := make(chan error, 1)
		_, err := s.StartListener(ref, new(fake), ranch.Options{NumAcceptors: 1, Logger: quiet, Observer: ranch.Observer(func(e ranch.Event) {
			if e.Kind == ranch.ListenerStarted {
				l, err := s.Listener(ref)
				if err != nil || l.Info().Status != ranch.Running {
					t.Errorf("got %v, want a running listener", err)
				}
				go func() { stopped <- l.Stop() }()
			}
		})}, answer)
		if err != nil {
			t.Fatal(err)
		}
		if err := await(t, "the stop returns", stopped); err != nil {
			t.Fatal(err)
		}
		if got := s.Listeners(); got != nil {
			t.Fatalf("stopped, and still there: %v", got)
		}
	}
}

// Each operation on a name that nobody has says so.
func TestUnknownName(t *testing.T) {
	const ref = "unknown"
	ctx := context.Background()
	for name, f := range map[string]func() error{
		"StopListener":       func() error { return ranch.StopListener(ref) },
		"SuspendListener":    func() error { return ranch.SuspendListener(ref) },
		"ResumeListener":     func() error { return ranch.ResumeListener(ref) },
		"SetMaxConnections":  func() error { return ranch.SetMaxConnections(ref, 1) },
		"MaxConnections":     func() error { _, err := ranch.MaxConnections(ref); return err },
		"SetProtocol":        func() error { return ranch.SetProtocol(ref, answer) },
		"WaitForConnections": func() error { return ranch.WaitForConnections(ctx, ref, ranch.Equal, 0) },
		"Drain":              func() error { return ranch.Drain(ctx, ref) },
		"Info":               func() error { _, err := ranch.Info(ref); return err },
		"Listener":           func() error { _, err := ranch.Default.Listener(ref); return err },
	} {
		if err := f(); !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(ranch.Server).Drain(ctx); err != nil {
		t.Errorf("draining all of none: %v", err)
	}
	ranch.RemoveConnection(transport.NewConn(transport.TCP{}, nil)) // that nobody supervises
}
