package client_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a topic server on the in-memory transport, which can be stopped and started.
type testServer struct {
	*pubsub.Server // nil while stopped
	t              testing.TB
	listener       *ranch.Listener
	mem            *transport.Mem
}

func newTestServer(t testing.TB, opts pubsub.Options) *testServer {
	t.Helper()
	srv := &testServer{t: t, mem: new(transport.Mem)}
	srv.start(opts)
	t.Cleanup(srv.stop)
	return srv
}

func (srv *testServer) start(opts pubsub.Options) {
	srv.t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		srv.t.Fatalf("NewServer: got %v, want no error", err)
	}
	srv.Server = s
	srv.listen(s)
}

func (srv *testServer) listen(p protocol.Protocol) {
	srv.t.Helper()
	var err error
	srv.listener, err = new(ranch.Server).StartListener("topics", srv.mem, ranch.Options{Addr: "topics", Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, p)
	if err != nil {
		srv.t.Fatalf("StartListener: got %v, want no error", err)
	}
}

func (srv *testServer) stop() {
	srv.listener.Stop()
	if srv.Server == nil {
		return
	}
	if err := srv.Close(context.Background()); err != nil {
		srv.t.Errorf("Close: got %v, want no error", err)
	}
	srv.Server = nil
}

// publish publishes each value in data with a time of its own.
func (srv *testServer) publish(topic string, data ...any) {
	srv.t.Helper()
	for _, d := range data {
		time.Sleep(time.Microsecond)
		if _, err := srv.Publish(topic, "e", "", d); err != nil {
			srv.t.Fatalf("Publish to %s: got %v, want no error", topic, err)
		}
	}
}

// eventLog records the callbacks of a client.
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) add(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event)
}

func (l *eventLog) register(opts *client.Options) {
	opts.OnConnect = func(info client.ConnectInfo) {
		switch {
		case info.Resumed:
			l.add("resumed")
		case info.SessionLost:
			l.add(fmt.Sprintf("session lost, %d resubscribed", info.Resubscribed))
		default:
			l.add("connected")
		}
	}
	opts.OnDisconnect = func(error) { l.add("disconnected") }
	opts.OnDrop = func(string, uint64) { l.add("dropped") }
	opts.OnLostBytes = func(uint64) { l.add("lost bytes") }
	opts.OnRefused = func(string, error) { l.add("refused") }
}

// take returns the events since the last call, with failed attempts to connect left out.
func (l *eventLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := slices.Clone(l.events)
	l.events = nil
	for i := len(events) - 1; i > 0; i-- {
		if events[i] == "disconnected" && events[i-1] == "disconnected" {
			events = slices.Delete(events, i, i+1)
		}
	}
	return events
}

func (srv *testServer) dial(opts client.Options) (*client.Client, *eventLog) {
	srv.t.Helper()
	l := &eventLog{}
	l.register(&opts)
	if opts.Transport == nil {
		opts.Transport = srv.mem
	}
	opts.Addr = "topics"
	c, err := client.Dial(context.Background(), opts)
	if err != nil {
		srv.t.Fatalf("Dial: got %v, want no error", err)
	}
	srv.t.Cleanup(func() { c.Close() })
	return c, l
}

func subscribe(t testing.TB, c *client.Client, name string, opts client.SubscribeOptions) *client.Subscription {
	t.Helper()
	s, err := c.Subscribe(t.Context(), name, opts)
	if err != nil {
		t.Fatalf("Subscribe to %s: got %v, want no error", name, err)
	}
	return s
}

// receive returns the data of the next n messages.
func receive(t testing.TB, s *client.Subscription, n int) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for range n {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("Next after %q: got %v, want a message", all, err)
		}
		all = append(all, string(m.Data))
	}
	return all
}

func checkEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wrapped is a transport whose client connections are wrapped.
type wrapped struct {
	transport.Transport
	wrap func(net.Conn) net.Conn
}

func (w wrapped) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := w.Transport.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return w.wrap(nc), nil
}

// lastConn returns a transport that stores its last connection in nc.
func lastConn(tr transport.Transport, nc *net.Conn) transport.Transport {
	return wrapped{tr, func(c net.Conn) net.Conn { *nc = c; return c }}
}

// scriptedServer is a protocol that sends a fixed text, and records what it reads.
type scriptedServer struct {
	text string
	mu   sync.Mutex
	in   []byte
}

func (s *scriptedServer) Serve(_ context.Context, c *transport.Conn) error {
	io.WriteString(c, s.text)
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		s.mu.Lock()
		s.in = append(s.in, b[:n]...)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (s *scriptedServer) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.in)
}
