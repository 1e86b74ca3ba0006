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

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// patience bounds everything that a test waits for. It is long, for a busy machine: no
// test that passes comes near it.
const testTimeout = time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// over is a context that has ended.
var cancelledContext = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

var discardLogger = slog.New(slog.DiscardHandler)

// eventually waits for what nothing tells of: it looks again and again.
func waitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", testTimeout, what)
		}
		<-time.After(time.Millisecond)
	}
}

// await waits for a channel to be closed, or to give something.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	limit := time.NewTimer(testTimeout)
	defer limit.Stop()
	select {
	case v := <-ch:
		return v
	case <-limit.C:
		t.Fatalf("not within %v: %s\n%s", testTimeout, what, stacks())
		panic("unreachable")
	}
}

func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

// finish waits for f, which stops something and must come to an end.
func callWithTimeout(t testing.TB, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return receive(t, what, done)
}

// start starts a listener on a server of its own, and stops it when the test ends.
func startListener(t testing.TB, tr transport.Transport, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder) {
	t.Helper()
	l, rec, err := tryStartListener(t, new(ranch.Server), tr, opts, p)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

// ref is the name of listeners in these tests.
const ref = "test"

func tryStartListener(t testing.TB, s *ranch.Server, tr transport.Transport, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder, error) {
	t.Helper()
	rec := newRecorder()
	if opts.Observer == nil {
		opts.Observer = rec.observe
	}
	if opts.Logger == nil {
		opts.Logger = discardLogger
	}
	l, err := s.StartListener(ref, tr, opts, p)
	if err != nil {
		return nil, rec, err
	}
	t.Cleanup(func() {
		err := callWithTimeout(t, "the listener stops", func() error { return l.Drain(cancelledContext) })
		if err != nil && !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("stopping the listener: %v", err)
		}
		if err := checkCounters(l.Info()); err != nil {
			t.Error(err)
		}
		if n := l.Info().ActiveConnections; n != 0 {
			t.Errorf("a stopped listener counts %d active connections", n)
		}
	})
	return l, rec, nil
}

// balanced checks the equations that hold for a listener's counters at every moment.
func checkCounters(i ranch.ListenerInfo) error {
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

func (r *recorder) ofKind(kinds ...ranch.EventKind) []ranch.Event {
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

func (r *recorder) count(kind ranch.EventKind) int { return len(r.ofKind(kind)) }

// wait waits until there are n events of a kind, and returns them.
func (r *recorder) wait(t testing.TB, kind ranch.EventKind, n int) []ranch.Event {
	t.Helper()
	limit := time.NewTimer(testTimeout)
	defer limit.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if found := r.ofKind(kind); len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("after %v there were %d events %q, not %d", testTimeout, r.count(kind), kind, n)
		}
	}
}

// Protocols.

// answer greets with a byte and then sends back what comes, until the client leaves. The
// greeting is how a client knows that it is served.
var greetAndEcho = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
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
func greetAndReturn(b byte) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := conn.Write([]byte{b})
		return err
	})
}

// removed is p for connections that do not count.
func uncounted(p protocol.Protocol) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		ranch.RemoveConnection(conn)
		return p.Serve(ctx, conn)
	})
}

// deaf serves until it is released, whatever happens to its connection.
type blockingProtocol struct {
	serving chan *transport.Conn // who is being served
	release chan struct{}
}

func newBlockingProtocol(t testing.TB) *blockingProtocol {
	d := &blockingProtocol{serving: make(chan *transport.Conn, 1000), release: make(chan struct{})}
	t.Cleanup(d.unblock)
	return d
}

func (d *blockingProtocol) unblock() {
	select {
	case <-d.release:
	default:
		close(d.release)
	}
}

func (d *blockingProtocol) Serve(_ context.Context, conn *transport.Conn) error {
	conn.Write([]byte{greeting})
	d.serving <- conn
	<-d.release
	return nil
}

// visitor is a client that comes in the background and tells when it is served.
type client struct {
	served chan error
	nc     net.Conn // valid once served
	cancel context.CancelFunc
}

// visit sends a visitor. It leaves at the end of the test, if it has not done so before.
func newClient(t testing.TB, tr transport.Transport, addr string) *client {
	v := &client{served: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
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
func (v *client) waitServed(t testing.TB) *client {
	t.Helper()
	if err := receive(t, "a client is served", v.served); err != nil {
		t.Fatalf("a client was not served: %v", err)
	}
	return v
}

// waits reports whether the visitor is not served yet.
func (v *client) waiting() bool { return len(v.served) == 0 }

func (v *client) close() { v.nc.Close() }

// works checks that the visitor's connection carries data both ways.
func (v *client) checkEcho(t testing.TB) {
	t.Helper()
	v.nc.SetDeadline(time.Now().Add(testTimeout))
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
func servedClients(t testing.TB, tr transport.Transport, addr string, n int) []*client {
	t.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = newClient(t, tr, addr)
	}
	for _, v := range all {
		v.waitServed(t)
	}
	return all
}

// active waits until a listener has exactly n active connections.
func waitActive(t testing.TB, l *ranch.Listener, n int) {
	t.Helper()
	if err := l.WaitForConnections(testContext(t), ranch.Equal, n); err != nil {
		t.Fatalf("waiting for %d active connections: %v; %s", n, err, pretty(l.Info()))
	}
}

// allParked waits until every acceptor is parked at the cap: from then on nobody can be
// admitted before something changes.
func waitAllWaiting(t testing.TB, l *ranch.Listener) {
	t.Helper()
	waitUntil(t, "all acceptors are parked", func() bool {
		i := l.Info()
		return i.WaitingAcceptors == i.NumAcceptors
	})
}

func dialAddr(l *ranch.Listener) string { return transport.AddrString(l.Addr()) }

// untilClosed ignores that it is told to end, but not that its socket is closed: it
// writes to a client that does not read, until that fails too.
var writeUntilClosed = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	buf := bytes.Repeat([]byte{greeting}, 64<<10)
	for {
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
})
