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

// testTimeout bounds each wait of a test. It is long, for a busy machine: tests that pass do not
// come near it.
const testTimeout = time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// cancelledContext has ended.
var cancelledContext = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

var discardLogger = slog.New(slog.DiscardHandler)

// waitUntil polls a condition for which there is no event.
func waitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", testTimeout, what)
		}
		<-time.After(time.Millisecond)
	}
}

// receive waits until ch is closed or has a value.
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

// callWithTimeout calls f, which must return in time.
func callWithTimeout(t testing.TB, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return receive(t, what, done)
}

// startListener starts a listener on a server of its own, and stops it when the test ends.
func startListener(t testing.TB, tr transport.Transport, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder) {
	t.Helper()
	l, rec, err := tryStartListener(t, new(ranch.Server), tr, opts, p)
	if err != nil {
		t.Fatal(err)
	}
	return l, rec
}

// ref is the name of the listeners in these tests.
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
			t.Errorf("Drain: got %v, want nil or %v", err, ranch.ErrStopped)
		}
		if err := checkCounters(l.Info()); err != nil {
			t.Error(err)
		}
		if n := l.Info().ActiveConnections; n != 0 {
			t.Errorf("after the stop: got %d active connections, want 0", n)
		}
	})
	return l, rec, nil
}

// checkCounters checks the equations that hold for a listener's counters at every moment.
func checkCounters(i ranch.ListenerInfo) error {
	var ended uint64
	for _, n := range i.Reasons {
		ended += n
	}
	var failures uint64
	for _, n := range i.HandshakeFailures {
		failures += n
	}
	if failures != i.HandshakeFailed || i.AllConnections != i.Handshaking+i.Serving+i.Parked+i.Ending {
		return errors.New("the counters do not add up: " + pretty(i))
	}
	if i.Accepted != i.Terminated+uint64(i.AllConnections) || i.Terminated != i.Served+i.HandshakeFailed+i.Refused || ended != i.Terminated {
		return errors.New("the counters do not add up: " + pretty(i))
	}
	return nil
}

// recorder records events.
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
			t.Fatalf("after %v: got %d events %q, want %d", testTimeout, r.count(kind), kind, n)
		}
	}
}

// greetAndEcho writes the greeting and then echoes what it reads. The greeting tells a client that
// it is served.
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

// greetAndReturn returns a protocol that writes b and returns.
func greetAndReturn(b byte) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := conn.Write([]byte{b})
		return err
	})
}

// uncounted returns p for connections that do not count against the cap.
func uncounted(p protocol.Protocol) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		ranch.RemoveConnection(conn)
		return p.Serve(ctx, conn)
	})
}

// blockingProtocol serves until unblock is called, even if its connection is closed.
type blockingProtocol struct {
	serving chan *transport.Conn // connections being served
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

// client connects in the background and reads the greeting.
type client struct {
	served chan error
	nc     net.Conn // valid after the value of served
	cancel context.CancelFunc
}

// newClient starts a client, which is closed at the end of the test.
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

// waitServed waits until the client is served.
func (v *client) waitServed(t testing.TB) *client {
	t.Helper()
	if err := receive(t, "the client is served", v.served); err != nil {
		t.Fatalf("got %v, want the client served", err)
	}
	return v
}

// waiting reports whether the client is not served yet.
func (v *client) waiting() bool { return len(v.served) == 0 }

func (v *client) close() { v.nc.Close() }

// checkEcho checks that the connection carries data both ways.
func (v *client) checkEcho(t testing.TB) {
	t.Helper()
	v.nc.SetDeadline(time.Now().Add(testTimeout))
	got := make([]byte, 4)
	_, err := v.nc.Write([]byte("ping"))
	if err == nil {
		_, err = io.ReadFull(v.nc, got)
	}
	if err != nil || string(got) != "ping" {
		t.Fatalf("echo: got %q, %v, want ping", got, err)
	}
}

// servedClients starts n clients and waits until all are served.
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

// waitActive waits until a listener has exactly n active connections.
func waitActive(t testing.TB, l *ranch.Listener, n int) {
	t.Helper()
	if err := l.WaitForConnections(testContext(t), ranch.Equal, n); err != nil {
		t.Fatalf("waiting for %d active connections: got %v; %s", n, err, pretty(l.Info()))
	}
}

// waitAllWaiting waits until every acceptor waits for a slot: from then on no connection is
// admitted until something changes.
func waitAllWaiting(t testing.TB, l *ranch.Listener) {
	t.Helper()
	waitUntil(t, "all acceptors wait for slots", func() bool {
		i := l.Info()
		return i.WaitingAcceptors == i.NumAcceptors
	})
}

func dialAddr(l *ranch.Listener) string { return listenaddr.String(l.Addr()) }

// writeUntilClosed ignores requests to stop, and returns when its connection is closed: it writes
// to a client that does not read, until that fails.
var writeUntilClosed = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	buf := bytes.Repeat([]byte{greeting}, 64<<10)
	for {
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
})
