package netlisten_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/ranch"
	"goranch/transport"
)

// supervised returns the number of goroutines that serve connections of a ranch listener.
func supervised() int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "conns.(*connection).run(")
}

// Neither connections that wait nor those that were accepted have a goroutine of the supervisor,
// unless another protocol calls Serve. Such connections behave alike.
func TestGoroutines(t *testing.T) {
	const n = 10
	for _, tc := range []struct {
		name string
		wrap func(nl *netlisten.Listener) protocol.Protocol
		want int
	}{
		{"handed over", func(nl *netlisten.Listener) protocol.Protocol { return nl }, 0},
		{"by Serve", func(nl *netlisten.Listener) protocol.Protocol { return protocol.Func(nl.Serve) }, n},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nl := netlisten.New(netlisten.Options{})
				defer nl.Close()
				mem := new(transport.Mem)
				l := startListener(t, mem, ranch.Options{Addr: "x"}, tc.wrap(nl))
				for range n {
					dial(t, mem, "x")
				}
				synctest.Wait()
				if got := supervised(); got != tc.want {
					t.Errorf("waiting: got %d goroutines, want %d", got, tc.want)
				}
				var accepted []net.Conn
				for range n {
					nc, err := nl.Accept()
					if err != nil {
						t.Fatal(err)
					}
					accepted = append(accepted, nc)
				}
				synctest.Wait()
				if got := supervised(); got != tc.want {
					t.Errorf("accepted: got %d goroutines, want %d", got, tc.want)
				}
				for _, nc := range accepted {
					nc.Close()
				}
				synctest.Wait()
				if i := l.Info(); i.ActiveConnections != 0 || i.Reasons[conns.Finished] != n {
					t.Errorf("got %d connections and ends %v, want 0 and %d of %v", i.ActiveConnections, i.Reasons, n, conns.Finished)
				}
			})
		})
	}
}

// An accepted connection is not parked: its reader is code of the accepting server.
func TestAcceptedIsNotParked(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	l := startListener(t, transport.TCP{}, ranch.Options{Limits: conns.Limits{ParkAfter: 10 * time.Millisecond}}, nl)
	cli := dial(t, transport.TCP{}, l.Addr().String())
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	time.AfterFunc(300*time.Millisecond, func() { io.WriteString(cli, "hello") }) // the monitor has run by then
	if n, err := nc.Read(make([]byte, 5)); n != 5 || err != nil {
		t.Errorf("Read: got %d, %v, want 5, nil", n, err)
	}
}

// The stop of the listener waits until Stop has returned, also if all connections were closed
// before, or were not accepted.
func TestStopWaitsForStop(t *testing.T) {
	for name, accept := range map[string]bool{"accepted": true, "waiting": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				returned := false
				nl := netlisten.New(netlisten.Options{Stop: func(ctx context.Context) {
					<-ctx.Done()
					time.Sleep(2 * time.Second)
					returned = true
				}})
				defer nl.Close()
				mem := new(transport.Mem)
				l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
				dial(t, mem, "x")
				synctest.Wait()
				if accept {
					nc, err := nl.Accept()
					if err != nil {
						t.Fatal(err)
					}
					time.AfterFunc(time.Second, func() { nc.Close() })
				}
				if err := l.Stop(); err != nil {
					t.Errorf("Stop: got %v, want nil", err)
				}
				if !returned {
					t.Error("the listener has stopped before Stop of the options has returned")
				}
			})
		})
	}
}

// A panic of Refuse ends the connection, and neither the process nor the drain.
func TestPanicOfRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nl := netlisten.New(netlisten.Options{
			Stop:   func(ctx context.Context) { <-ctx.Done() },
			Refuse: func(context.Context, *transport.Conn, error) { panic("refuse") },
		})
		mem := new(transport.Mem)
		l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
		dial(t, mem, "x") // waits
		synctest.Wait()
		nl.Close()
		dial(t, mem, "x")
		synctest.Wait()
		if err := l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want nil", err)
		}
		if i := l.Info(); i.Reasons[conns.Panicked] != 2 {
			t.Errorf("got ends %v, want 2 of %v", i.Reasons, conns.Panicked)
		}
	})
}

// Connections are accepted, closed twice at once, killed and not accepted, while the listener
// stops. Each ends once.
func TestHandoverStress(t *testing.T) {
	for range 20 {
		nl := netlisten.New(netlisten.Options{Stop: func(ctx context.Context) { <-ctx.Done() }})
		mem := new(transport.Mem)
		l := startListener(t, mem, ranch.Options{Addr: "x", MaxConnections: 20}, nl)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				nc, err := nl.Accept()
				if err != nil {
					return
				}
				if rand.IntN(3) > 0 {
					wg.Go(func() { io.Copy(io.Discard, nc); nc.Close() })
				}
				if rand.IntN(2) > 0 {
					nc.Close()
				} else {
					wg.Go(func() { nc.Read(make([]byte, 1)); nc.Close() })
				}
			}
		})
		for range 4 {
			wg.Go(func() {
				for range 50 {
					cli, err := mem.Dial(context.Background(), "x")
					if err != nil {
						return
					}
					if rand.IntN(2) > 0 {
						io.WriteString(cli, "x")
					}
					if rand.IntN(8) == 0 {
						l.Kill(conns.Query{})
					}
					cli.Close()
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		if err := l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want nil", err)
		}
		nl.Close()
		wg.Wait()
		i := l.Info()
		if i.Accepted != i.Terminated || i.ActiveConnections != 0 {
			t.Errorf("got %d accepted, %d ended, %d active, want all to have ended", i.Accepted, i.Terminated, i.ActiveConnections)
		}
	}
}

// handedBack is closed when the connection was handed back.
type handedBack chan struct{}

func (h handedBack) HandBack() { close(h) }

// handOver hands a connection over to nl.
func handOver(t *testing.T, ctx context.Context, nl *netlisten.Listener) (engine.Handover, handedBack) {
	server, client := net.Pipe()
	conn := transport.NewConn(new(transport.Mem), server)
	t.Cleanup(func() { conn.Close(); client.Close() })
	back := make(handedBack)
	return nl.HandOver(ctx, nl, conn, back), back
}

// A connection that was killed before it was handed over does not wait for Accept.
func TestKilledBeforeHandover(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(conns.Killed)
	h, back := handOver(t, ctx, nl)
	if err := h.Run(false); err != engine.ErrHandedOver {
		t.Fatalf("Run: got %v, want %v", err, engine.ErrHandedOver)
	}
	receive(t, "hand-back", back)
	if err := h.Run(false); !errors.Is(err, netlisten.ErrRefused) || !errors.Is(err, conns.Killed) {
		t.Errorf("Run: got %v, want %v and %v", err, netlisten.ErrRefused, conns.Killed)
	}
}

// counting embeds a Listener and has a Serve of its own.
type counting struct {
	*netlisten.Listener
	served *atomic.Int32
}

func (c counting) Serve(ctx context.Context, conn *transport.Conn) error {
	c.served.Add(1)
	return c.Listener.Serve(ctx, conn)
}

// A protocol that embeds a Listener is served by its own Serve.
func TestEmbedded(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	p := counting{nl, new(atomic.Int32)}
	mem := new(transport.Mem)
	startListener(t, mem, ranch.Options{Addr: "x"}, p)
	dial(t, mem, "x")
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if n := p.served.Load(); n != 1 {
		t.Errorf("got %d calls of Serve, want 1", n)
	}
}

// The context of Stop does not end while a connection that is about to wait for Accept lives.
func TestStopBeforeHandover(t *testing.T) {
	stopping := make(chan context.Context, 1)
	nl := netlisten.New(netlisten.Options{Stop: func(ctx context.Context) { stopping <- ctx }})
	defer nl.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	h, back := handOver(t, ctx, nl)
	cancel(protocol.ErrShutdown)
	h.Stop()
	if err := h.Run(false); err != engine.ErrHandedOver {
		t.Fatalf("Run: got %v, want %v", err, engine.ErrHandedOver)
	}
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	stop := receive(t, "Stop", stopping)
	if stop.Err() != nil {
		t.Errorf("the context of Stop has ended, want it to last until the connection is closed")
	}
	nc.Close()
	receive(t, "hand-back", back)
	if stop.Err() == nil {
		t.Errorf("the context of Stop has not ended")
	}
}

// A connection that is closed by a goroutine which panics ends as any other, and the panic
// continues.
func TestCloseDuringPanic(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	mem := new(transport.Mem)
	l := startListener(t, mem, ranch.Options{Addr: "x"}, nl)
	dial(t, mem, "x")
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if v := recover(); v != "handler" {
				t.Errorf("recover: got %v, want handler", v)
			}
		}()
		defer nc.Close()
		panic("handler")
	}()
	if err := l.WaitForConnections(timeout(t), ranch.Equal, 0); err != nil {
		t.Fatal(err)
	}
	l.Stop() // waits until the end is counted
	if i := l.Info(); i.Reasons[conns.Finished] != 1 {
		t.Errorf("got ends %v, want 1 of %v", i.Reasons, conns.Finished)
	}
}

// An observer may take a lock that is held while a connection is closed.
func TestObserverWithLockOfClose(t *testing.T) {
	nl := netlisten.New(netlisten.Options{})
	defer nl.Close()
	mem := new(transport.Mem)
	var mu sync.Mutex
	ended := make(chan struct{})
	observer := func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			mu.Lock()
			defer mu.Unlock()
			close(ended)
		}
	}
	startListener(t, mem, ranch.Options{Addr: "x", Observer: observer}, nl)
	dial(t, mem, "x")
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	nc.Close()
	mu.Unlock()
	receive(t, "end", ended)
}
