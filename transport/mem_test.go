package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/engine"
	"goranch/transport"
)

var _ transport.Transport = (*transport.Mem)(nil)

func ExampleMem() {
	ctx := context.Background()
	var mem transport.Mem
	listener, err := mem.Listen(ctx, "greeter")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()

	client, err := mem.Dial(ctx, "greeter")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Fprint(client, "hello") // is buffered before Accept

	server, err := listener.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 64)
	n, _ := server.Read(buf)
	fmt.Printf("%s said %s to %s\n", server.RemoteAddr(), buf[:n], server.LocalAddr())
	server.Close()

	_, err = client.Read(buf)
	fmt.Println(err)
	// Output:
	// mem:client-1 said hello to greeter
	// EOF
}

func TestMemTraits(t *testing.T) {
	type traits struct {
		Name          string
		Secure, Plain bool
	}
	var m transport.Mem
	got := traits{m.Name(), m.Secure(), engine.Plain(&m)}
	if diff := cmp.Diff(traits{Name: "mem", Plain: true}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	client, server := memConns(t)
	defer client.Close()
	defer server.Close()
	if conn, err := m.Handshake(t.Context(), server); conn != server || err != nil {
		t.Errorf("Handshake: got %v, %v, want its argument", conn, err)
	}
}

func TestMemNames(t *testing.T) {
	tests := []struct {
		name   string
		listen []string // in this order; a leading "-" closes that listener
		want   []string // the address or the outcome
	}{
		{"free names", []string{"", ":0"}, []string{"mem:1", "mem:2"}},
		{"a free name that is not", []string{"mem:1", ""}, []string{"mem:1", "mem:2"}},
		{"taken", []string{"a", "a"}, []string{"a", "listen EADDRINUSE"}},
		{"free after close", []string{"a", "-a", "a"}, []string{"a", "ok", "a"}},
		{"second close leaves the new one", []string{"a", "-a", "a", "-a", "a"}, []string{"a", "ok", "a", "close closed", "listen EADDRINUSE"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m transport.Mem
			first := map[string]net.Listener{}
			var got []string
			for _, addr := range test.listen {
				if addr[:min(1, len(addr))] == "-" {
					got = append(got, memOutcome(first[addr[1:]].Close()))
					continue
				}
				l, err := m.Listen(t.Context(), addr)
				if err != nil {
					got = append(got, memOutcome(err))
					continue
				}
				got = append(got, l.Addr().String())
				if first[addr] == nil {
					first[addr] = l
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMemRefuses(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("we are closing")
	cancel(cause)
	listen := func(ctx context.Context, m *transport.Mem) error { _, err := m.Listen(ctx, "new"); return err }
	dial := func(ctx context.Context, m *transport.Mem) error { _, err := m.Dial(ctx, "old"); return err }
	tests := []struct {
		name string
		mem  *transport.Mem
		do   func(context.Context, *transport.Mem) error
		ctx  context.Context
		want []error // each is found by errors.Is
	}{
		{"negative backlog", &transport.Mem{Backlog: -1}, listen, t.Context(), nil},
		{"listen after the end", &transport.Mem{}, listen, ended, []error{context.Canceled, cause}},
		{"dial after the end", &transport.Mem{}, dial, ended, []error{context.Canceled, cause}},
		{"dial without a listener", &transport.Mem{}, dial, t.Context(), []error{syscall.ECONNREFUSED}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(test.ctx, test.mem)
			var op *net.OpError
			if !errors.As(err, &op) || op.Net != "mem" || op.Timeout() {
				t.Fatalf("got %#v, want a *net.OpError of mem that is no timeout", err)
			}
			for _, want := range test.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		})
	}
}

func TestMemAddresses(t *testing.T) {
	var m transport.Mem
	l, err := m.Listen(t.Context(), "here")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got [][4]string
	for range 2 {
		client, server := memConnect(t, &m, l)
		got = append(got, [4]string{client.LocalAddr().String(), client.RemoteAddr().String(), server.LocalAddr().String(), server.RemoteAddr().String()})
		client.Close()
		server.Close()
	}
	want := [][4]string{
		{"mem:client-1", "here", "here", "mem:client-1"},
		{"mem:client-2", "here", "here", "mem:client-2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if a := l.Addr(); a.Network() != "mem" || a.String() != "here" {
		t.Errorf("address of the listener: got %s %s, want mem here", a.Network(), a)
	}
}

// Accept returns at the right time with the right outcome when a connection arrives, the deadline
// expires or the listener is closed.
func TestMemAcceptEnds(t *testing.T) {
	type result struct {
		After   time.Duration
		Outcome string
	}
	tests := []struct {
		name string
		do   func(m *transport.Mem, l net.Listener)
		want result
	}{
		{"deadline", func(_ *transport.Mem, l net.Listener) { memDeadline(l, 5*time.Second) }, result{5 * time.Second, "accept timeout"}},
		{"deadline that has passed", func(_ *transport.Mem, l net.Listener) { memDeadline(l, -time.Second) }, result{0, "accept timeout"}},
		{"deadline moved", func(_ *transport.Mem, l net.Listener) {
			memDeadline(l, 5*time.Second)
			time.Sleep(4 * time.Second)
			memDeadline(l, 5*time.Second)
		}, result{9 * time.Second, "accept timeout"}},
		{"deadline cleared", func(m *transport.Mem, l net.Listener) {
			memDeadline(l, 5*time.Second)
			time.Sleep(time.Second)
			memDeadline(l, 0)
			time.Sleep(time.Hour)
			memDialClose(m, l)
		}, result{time.Hour + time.Second, "ok"}},
		{"connection", func(m *transport.Mem, l net.Listener) { memDialClose(m, l) }, result{0, "ok"}},
		{"close", func(_ *transport.Mem, l net.Listener) { memDeadline(l, time.Hour); l.Close() }, result{0, "accept closed"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m transport.Mem
				l, err := m.Listen(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				start := time.Now()
				done := make(chan result, 1)
				go func() {
					conn, err := l.Accept()
					done <- result{time.Since(start), memOutcome(err)}
					if err == nil {
						conn.Close()
					}
				}()
				synctest.Wait() // until Accept is blocked
				test.do(&m, l)
				if diff := cmp.Diff(test.want, <-done); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// The deadline ends all Accept calls, and a connection that arrives at the same time stays in the
// backlog.
func TestMemAcceptDeadlineKeepsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m transport.Mem
		l, err := m.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		const acceptors = 3
		outcomes := make(chan string, acceptors)
		for range acceptors {
			go func() { _, err := l.Accept(); outcomes <- memOutcome(err) }()
		}
		synctest.Wait()
		memDeadline(l, -1)
		memDialClose(&m, l)
		for range acceptors {
			if got := <-outcomes; got != "accept timeout" {
				t.Errorf("Accept: got %v, want ErrDeadlineExceeded", got)
			}
		}
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Accept after the deadline with a connection in the backlog: got %v, want ErrDeadlineExceeded", err)
		}
		memDeadline(l, 0)
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("Accept: got %v, want the connection", err)
		}
		conn.Close()
	})
}

// memDialled is the time and the outcome of the end of a Dial.
type memDialled struct {
	After   time.Duration
	Outcome string
}

var memDialTable = []struct {
	name string
	do   func(l net.Listener)
	want [2]memDialled // of the two waiting calls; the second has a timeout of 10 s
	left int           // connections in the backlog afterwards
}{
	{"timeout", func(l net.Listener) { time.Sleep(time.Minute); l.Close() },
		[2]memDialled{{time.Minute, "dial ECONNREFUSED"}, {10 * time.Second, "dial context timeout"}}, 0},
	{"room for one", func(l net.Listener) { memAcceptClose(l); time.Sleep(time.Minute) },
		[2]memDialled{{0, "ok"}, {10 * time.Second, "dial context timeout"}}, 1},
	{"room for both", func(l net.Listener) { memAcceptClose(l); time.Sleep(time.Second); memAcceptClose(l) },
		[2]memDialled{{0, "ok"}, {time.Second, "ok"}}, 1},
	{"close", func(l net.Listener) { l.Close() },
		[2]memDialled{{0, "dial ECONNREFUSED"}, {0, "dial ECONNREFUSED"}}, 0},
	{"room after a timeout", func(l net.Listener) { time.Sleep(time.Minute); memAcceptClose(l); memAcceptClose(l) },
		[2]memDialled{{time.Minute, "ok"}, {10 * time.Second, "dial context timeout"}}, 0},
}

// With a full backlog, Dial calls wait in order.
func TestMemDialWaitsForSpace(t *testing.T) {
	cause := errors.New("enough")
	for _, test := range memDialTable {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := transport.Mem{Backlog: 1}
				l, err := m.Listen(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				memDialClose(&m, l)
				limited, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, cause)
				defer cancel()
				start := time.Now()
				var done [2]chan memDialled
				for i, ctx := range []context.Context{t.Context(), limited} {
					done[i] = make(chan memDialled, 1)
					go func() {
						conn, err := m.Dial(ctx, l.Addr().String())
						done[i] <- memDialled{time.Since(start), memOutcome(err)}
						if err == nil {
							conn.Close()
						} else if errors.Is(err, context.DeadlineExceeded) != errors.Is(err, cause) {
							t.Errorf("got %v, want an error with the cause", err)
						}
					}()
					synctest.Wait() // until Dial is blocked, so that the order is fixed
				}
				test.do(l)
				if diff := cmp.Diff(test.want, [2]memDialled{<-done[0], <-done[1]}); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if left := memDrain(l); left != test.left {
					t.Errorf("got %d connections in the backlog, want %d", left, test.left)
				}
			})
		})
	}
}

// A connection that was added to the backlog is returned by its Dial, even if ctx ends before Dial
// returns: otherwise its client's end would never be closed.
func TestMemDialAdmittedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := transport.Mem{Backlog: 1}
		l, err := m.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 100 {
			memDialClose(&m, l)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan string, 1)
			go func() {
				conn, err := m.Dial(ctx, l.Addr().String())
				done <- memOutcome(err)
				if err == nil {
					conn.Close()
				}
			}()
			synctest.Wait() // until Dial is blocked
			cancel()
			memAcceptClose(l)
			want := map[string]int{"ok": 1, "dial context canceled": 0} // either may be first
			outcome := <-done
			if left, known := want[outcome]; !known || memDrain(l) != left {
				t.Fatalf("Dial: got %q, want the outcome that agrees with the backlog", outcome)
			}
			memDeadline(l, 0)
		}
	})
}

// A connection that an Accept adds to the backlog wakes another Accept. A lost wake-up is a
// deadlock, which the bubble reports.
func TestMemBusyBacklog(t *testing.T) {
	// With one P, the second Dial still finds the first connection in the backlog, although an
	// Accept was signalled for it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		m := transport.Mem{Backlog: 1}
		l, err := m.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 10 {
			var group sync.WaitGroup
			for range 2 {
				group.Go(func() { memAcceptClose(l) })
			}
			synctest.Wait() // until both are blocked
			memDialClose(&m, l)
			memDialClose(&m, l)
			group.Wait()
		}
	})
}

// Close resets the connections in the backlog, and does not affect accepted ones.
func TestMemListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m transport.Mem
		l, err := m.Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		client, server := memConnect(t, &m, l)
		defer client.Close()
		defer server.Close()
		waits, err := m.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer waits.Close()
		read := make(chan string, 1)
		go func() { _, err := waits.Read(make([]byte, 1)); read <- memOutcome(err) }()
		synctest.Wait()

		got := []string{memOutcome(l.Close()), <-read}
		_, err = waits.Write([]byte("x"))
		got = append(got, memOutcome(err), memOutcome(l.Close()))
		_, err = l.Accept()
		got = append(got, memOutcome(err), memOutcome(l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})))
		_, err = server.Write([]byte("x"))
		got = append(got, memOutcome(err))
		_, err = io.ReadFull(client, make([]byte, 1))
		got = append(got, memOutcome(err))
		want := []string{"ok", "read ECONNRESET", "write EPIPE", "close closed", "accept closed", "set closed", "ok", "ok"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The ring buffer of the backlog wraps and grows, and keeps the order.
func TestMemBacklogOrder(t *testing.T) {
	m := transport.Mem{Backlog: 100}
	l, err := m.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var want, got []net.Addr
	for _, step := range []struct{ dial, accept int }{{6, 4}, {5, 3}, {30, 10}, {76, 100}} {
		for range step.dial {
			conn, err := m.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want = append(want, conn.LocalAddr())
		}
		for range step.accept {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got = append(got, conn.RemoteAddr())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
