package ranch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"goranch/internal/listenaddr"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// patience bounds everything that a test waits for. It is long, for a busy machine: no
// test that passes comes near it.
const patience = time.Minute

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

var quiet = slog.New(slog.DiscardHandler)

// eventually waits for what nothing tells of: it looks again and again.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(time.Millisecond)
	}
}

// await waits for a channel to be closed, or to give something.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case v := <-ch:
		return v
	case <-limit.C:
		t.Fatalf("not within %v: %s\n%s", patience, what, stacks())
		panic("unreachable")
	}
}

func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

// finish waits for f, which stops something and must come to an end.
func finish(t testing.TB, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return await(t, what, done)
}

// start starts a listener on a server of its own, and stops it when the test ends.
func start(t testing.TB, tr transport.Transport, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder) {
	t.Helper()
	l, rec, err := tryStart(t, new(ranch.Server), tr, opts, p)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

// ref is the name of listeners in these tests.
const ref = "test"

func tryStart(t testing.TB, s *ranch.Server, tr transport.Transport, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder, error) {
	t.Helper()
	rec := newRecorder()
	if opts.Observer == nil {
		opts.Observer = rec.observe
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	l, err := s.StartListener(ref, tr, opts, p)
	if err != nil {
		return nil, rec, err
	}
	t.Cleanup(func() {
		err := finish(t, "the listener stops", func() error { return l.Drain(over) })
		if err != nil && !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("stopping the listener: %v", err)
		}
		if err := balanced(l.Info()); err != nil {
			t.Error(err)
		}
		if n := l.Info().ActiveConnections; n != 0 {
			t.Errorf("a stopped listener counts %d active connections", n)
		}
	})
	return l, rec, nil
}

// balanced checks the equations that hold for a listener's counters at every moment.
func balanced(i ranch.ListenerInfo) error {
	var ended uint64
	for _, n := range i.Reasons {
		ended += n
	}
	if i.Accepted != i.Terminated+uint64(i.AllConnections) || i.Terminated != i.Served+i.HandshakeFailed+i.Refused || ended != i.Terminated {
		return errors.New("the counters do not add up: " + pretty(i))
	}
	return nil
}

// recorder is an Observer that remembers.
type recorder struct {
	mu      sync.Mutex
	events  []ranch.Event
	changed chan struct{} // closed at the next event
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) observe(e ranch.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) all(kinds ...ranch.EventKind) []ranch.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []ranch.Event
	for _, e := range r.events {
		for _, k := range kinds {
			if e.Kind == k {
				found = append(found, e)
			}
		}
	}
	return found
}

func (r *recorder) count(kind ranch.EventKind) int { return len(r.all(kind)) }

// wait waits until there are n events of a kind, and returns them.
func (r *recorder) wait(t testing.TB, kind ranch.EventKind, n int) []ranch.Event {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if found := r.all(kind); len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("after %v there were %d events %q, not %d", patience, r.count(kind), kind, n)
		}
	}
}

// Protocols.

// answer greets with a byte and then sends back what comes, until the client leaves. The
// greeting is how a client knows that it is served.
var answer = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	if _, err := conn.Write([]byte{greeting}); err != nil {
		return err
	}
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err == nil {
			_, err = conn.Write(buf[:n])
		}
		if err != nil {
			return err
		}
	}
})

const greeting = '+'

// greetAs greets with a byte of its own and leaves.
func greetAs(b byte) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := conn.Write([]byte{b})
		return err
	})
}

// removed is p for connections that do not count.
func removed(p protocol.Protocol) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		ranch.RemoveConnection(conn)
		return p.Serve(ctx, conn)
	})
}

// deaf serves until it is released, whatever happens to its connection.
type deaf struct {
	in      chan *transport.Conn // who is being served
	release chan struct{}
}

func newDeaf(t testing.TB) *deaf {
	d := &deaf{in: make(chan *transport.Conn, 1000), release: make(chan struct{})}
	t.Cleanup(d.free)
	return d
}

func (d *deaf) free() {
	select {
	case <-d.release:
	default:
		close(d.release)
	}
}

func (d *deaf) Serve(_ context.Context, conn *transport.Conn) error {
	conn.Write([]byte{greeting})
	d.in <- conn
	<-d.release
	return nil
}

// visitor is a client that comes in the background and tells when it is served.
type visitor struct {
	served chan error
	nc     net.Conn // valid once served
	cancel context.CancelFunc
}

// visit sends a visitor. It leaves at the end of the test, if it has not done so before.
func visit(t testing.TB, tr transport.Transport, addr string) *visitor {
	v := &visitor{served: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	v.cancel = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := tr.Dial(ctx, addr)
		if err != nil {
			v.served <- err
			return
		}
		v.nc = nc
		hangUp := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
		defer hangUp()
		_, err = io.ReadFull(nc, make([]byte, 1))
		v.served <- err
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if v.nc != nil {
			v.nc.Close()
		}
	})
	return v
}

// in waits until the visitor is served.
func (v *visitor) in(t testing.TB) *visitor {
	t.Helper()
	if err := await(t, "a client is served", v.served); err != nil {
		t.Fatalf("a client was not served: %v", err)
	}
	return v
}

// waits reports whether the visitor is not served yet.
func (v *visitor) waits() bool { return len(v.served) == 0 }

func (v *visitor) leave() { v.nc.Close() }

// works checks that the visitor's connection carries data both ways.
func (v *visitor) works(t testing.TB) {
	t.Helper()
	v.nc.SetDeadline(time.Now().Add(patience))
	got := make([]byte, 4)
	_, err := v.nc.Write([]byte("ping"))
	if err == nil {
		_, err = io.ReadFull(v.nc, got)
	}
	if err != nil || string(got) != "ping" {
		t.Fatalf("a live connection answered %q, %v", got, err)
	}
}

// guests sends n visitors and waits until all are served.
func guests(t testing.TB, tr transport.Transport, addr string, n int) []*visitor {
	t.Helper()
	all := make([]*visitor, n)
	for i := range all {
		all[i] = visit(t, tr, addr)
	}
	for _, v := range all {
		v.in(t)
	}
	return all
}

// active waits until a listener has exactly n active connections.
func active(t testing.TB, l *ranch.Listener, n int) {
	t.Helper()
	if err := l.WaitForConnections(within(t), ranch.Equal, n); err != nil {
		t.Fatalf("waiting for %d active connections: %v; %s", n, err, pretty(l.Info()))
	}
}

// allParked waits until every acceptor is parked at the cap: from then on nobody can be
// admitted before something changes.
func allParked(t testing.TB, l *ranch.Listener) {
	t.Helper()
	eventually(t, "all acceptors are parked", func() bool {
		i := l.Info()
		return i.WaitingAcceptors == i.NumAcceptors
	})
}

func dialAddr(l *ranch.Listener) string { return listenaddr.String(l.Addr()) }

// untilClosed ignores that it is told to end, but not that its socket is closed: it
// writes to a client that does not read, until that fails too.
var untilClosed = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	buf := bytes.Repeat([]byte{greeting}, 64<<10)
	for {
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
})
