package natsbroker

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"goranch/protocol/pubsub"
)

func TestMain(m *testing.M) {
	maxQueue, createDelay = 64, 100*time.Millisecond
	beatInterval, newCheck, retryMin = 200*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond
	goleak.VerifyTestMain(m)
}

// engine is a NATS server within the test. It can be restarted, with the same files.
type engine struct {
	t    testing.TB
	dir  string
	keep int    // messages of each topic
	user string // the only one, with the same password, over TCP; "" allows connections within the process
	url  string // "" within the process

	mu sync.Mutex
	s  *server.Server
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	return newEngineFor(t, "")
}

func newEngineFor(t testing.TB, user string) *engine {
	t.Helper()
	e := &engine{t: t, dir: t.TempDir(), keep: 8, user: user}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *engine) start() {
	e.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, DontListen: e.user == "", JetStream: true, StoreDir: e.dir, NoSigs: true, NoLog: true, Username: e.user, Password: e.user})
	if err != nil {
		e.t.Fatalf("NewServer: got %v, want no error", err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		e.t.Fatal("NATS: got no server within 30 s, want one")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.s = s; e.user != "" {
		e.url = s.ClientURL()
	}
}

func (e *engine) stop() {
	e.mu.Lock()
	s := e.s
	e.s = nil
	e.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// InProcessConn makes the brokers connect to the server that runs now.
func (e *engine) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.s == nil {
		return nil, fmt.Errorf("the engine is away")
	}
	return e.s.InProcessConn()
}

// isOrdered makes the topics ordered whose names begin with "o".
func isOrdered(topic string) bool { return strings.HasPrefix(topic, "o") }

func (e *engine) broker(name string, more ...nats.Option) *Broker {
	e.t.Helper()
	opts := append([]nats.Option{nats.InProcessServer(e)}, more...)
	b, err := New(Options{URL: e.url, Node: name, NATS: opts, Ordered: isOrdered, Keep: e.keep})
	if err != nil {
		e.t.Fatalf("New: got %v, want no error", err)
	}
	e.t.Cleanup(func() { b.Close() })
	return b
}

// received is a Receiver that records what a broker calls.
type received struct {
	t      testing.TB
	mu     sync.Mutex
	events []string
}

func (r *received) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *received) Deliver(m pubsub.Message) {
	r.add("%s %s %d", m.Topic, m.Frame, m.Position.Offset)
}
func (r *received) Gap(topic string, from pubsub.Position) { r.add("gap %s %d", topic, from.Offset) }
func (r *received) State(err error)                        { r.add("degraded %t", err != nil) }
func (r *received) Subscribers(topic string) int           { return len(topic) }

// expect waits for events, among which those with the state of the broker do not count.
func (r *received) expect(want ...string) {
	r.t.Helper()
	var got []string
	waitFor(r.t, fmt.Sprintf("events %q", want), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		got = nil
		for _, e := range r.events {
			if !strings.HasPrefix(e, "degraded") {
				got = append(got, e)
			}
		}
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Fatalf("events (-want +got):\n%s", diff)
	}
}

func (r *received) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// node is a broker with what it delivers.
type node struct {
	*Broker
	*received
}

func (e *engine) node(name string) *node {
	e.t.Helper()
	n := &node{e.broker(name), &received{t: e.t}}
	stop, err := n.Receive(n.received)
	if err != nil {
		e.t.Fatalf("Receive: got %v, want no error", err)
	}
	e.t.Cleanup(stop)
	n.ready()
	return n
}

func (n *node) ready() {
	n.t.Helper()
	waitFor(n.t, "stream", func() bool { return n.Degraded() == nil })
}

// subscribe waits until the subscription has taken effect.
func (n *node) subscribe(topics ...string) {
	n.t.Helper()
	n.Subscribe(topics...)
	if err := n.nc.FlushTimeout(20 * time.Second); err != nil {
		n.t.Fatalf("Flush: got %v, want no error", err)
	}
}

func (n *node) publish(topic, frame string) pubsub.Position {
	n.t.Helper()
	p, err := n.Publish(ctx(n.t), topic, "", []byte(frame))
	if err != nil {
		n.t.Fatalf("Publish: got %v, want no error", err)
	}
	return p
}

func (n *node) history(topic string, since pubsub.Position, last bool, limit int) (from uint64, recovered bool, frames string) {
	n.t.Helper()
	r, err := n.History(ctx(n.t), topic, since, last, limit)
	if err != nil {
		n.t.Fatalf("History: got %v, want no error", err)
	}
	for _, m := range r.Messages {
		frames += string(m.Frame)
	}
	return r.From.Offset, r.Recovered, frames
}

func ctx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: got none within 20 s, want it", what)
		}
	}
}
