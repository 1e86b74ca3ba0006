package ranch_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// All acceptors answer, wherever they wait, and the listener serves as before.
func TestCheckAcceptors(t *testing.T) {
	for name, opts := range map[string]ranch.Options{
		"in accept":     {NumAcceptors: 20},
		"for a slot":    {NumAcceptors: 20, MaxConnections: 1},
		"for the rate":  {NumAcceptors: 20, Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 0.001, Burst: 1}}},
		"without slots": {NumAcceptors: 20, RefuseAfter: ranch.RefuseAtOnce},
	} {
		t.Run(name, func(t *testing.T) {
			var s ranch.Server
			opts.Addr, opts.Logger = "127.0.0.1:0", discardLogger
			l, err := s.StartListener("a", transport.TCP{}, opts, echo.Protocol{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Stop()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			waitUntil(t, "the connection is accepted", func() bool { return l.Info().Accepted == 1 })
			for range 3 {
				if err := s.CheckAcceptors(testContext(t)); err != nil {
					t.Fatalf("got %v, want an answer of all", err)
				}
			}
			if i := l.Info(); i.AcceptErrors != 0 || i.Accepted != 1 {
				t.Errorf("got %d accept errors and %d accepted, want 0 and 1", i.AcceptErrors, i.Accepted)
			}
		})
	}
}

// Connections are accepted while checks run.
func TestCheckWhileAccepting(t *testing.T) {
	var s ranch.Server
	l, err := s.StartListener("a", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger}, echo.Protocol{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	done := make(chan error, 1)
	go func() {
		for range 100 {
			if err := s.CheckAcceptors(testContext(t)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 200 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.Write([]byte("x"))
		b := make([]byte, 1)
		if _, err := nc.Read(b); err != nil {
			t.Fatalf("echo: got %v, want an answer", err)
		}
		nc.Close()
	}
	if err := receive(t, "the checks", done); err != nil {
		t.Error(err)
	}
}

// stuckAccept is a transport whose listener does not return from the second Accept.
type stuckAccept struct {
	transport.TCP
	release chan struct{}
}

func (s stuckAccept) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := s.TCP.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &stuckListener{ln.(*net.TCPListener), s.release}, nil
}

type stuckListener struct {
	*net.TCPListener
	release chan struct{}
}

func (l *stuckListener) Accept() (net.Conn, error) {
	<-l.release
	return l.TCPListener.Accept()
}

// A check names the listener whose acceptors are stuck.
func TestCheckFindsStuckAcceptors(t *testing.T) {
	var s ranch.Server
	release := make(chan struct{})
	for name, tr := range map[string]transport.Transport{"good": transport.TCP{}, "bad": stuckAccept{release: release}, "memory": new(transport.Mem)} {
		l, err := s.StartListener(name, tr, ranch.Options{Addr: "127.0.0.1:0", NumAcceptors: 2, Logger: discardLogger}, echo.Protocol{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Stop()
	}
	defer close(release)
	var err error
	for wait := 100 * time.Millisecond; wait < testTimeout; wait *= 2 { // the others may be late
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		err = s.CheckAcceptors(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "good") && !strings.Contains(err.Error(), "memory") {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "acceptors 0, 1") ||
		strings.Contains(err.Error(), "good") || strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v, want acceptors 0 and 1 of bad only", err)
	}
}

// A listener that is suspended or stopped during a check has no acceptors to answer.
func TestCheckDuringStop(t *testing.T) {
	var s ranch.Server
	l, err := s.StartListener("a", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger}, protocol.Func(func(context.Context, *transport.Conn) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckAcceptors(testContext(t)); err != nil {
		t.Errorf("suspended: got %v, want nil", err)
	}
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckAcceptors(testContext(t)); err != nil {
		t.Errorf("stopped: got %v, want nil", err)
	}
}
