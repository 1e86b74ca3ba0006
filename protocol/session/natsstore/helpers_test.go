package natsstore_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// engine is an embedded NATS server that can be restarted.
type engine struct {
	opts server.Options
	mu   sync.Mutex
	srv  *server.Server // nil: stopped
}

// newEngine starts a server that listens on no port.
func newEngine(t testing.TB, change func(*server.Options)) *engine {
	t.Helper()
	e := &engine{opts: server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoLog: true, NoSigs: true}}
	if change != nil {
		change(&e.opts)
	}
	e.start(t)
	t.Cleanup(e.stop)
	return e
}

func (e *engine) start(t testing.TB) {
	t.Helper()
	opts := e.opts
	srv, err := server.NewServer(&opts)
	must(t, err)
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("got no NATS server after 30s, want one")
	}
	e.mu.Lock()
	e.srv = srv
	e.mu.Unlock()
}

func (e *engine) stop() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// link is the way of one client to the server.
type link struct {
	e    *engine
	cut  atomic.Bool
	deaf atomic.Bool // what the server sends is lost, without an end of the connection
}

// deafConn loses what is received while the link is deaf.
type deafConn struct {
	net.Conn
	l *link
}

func (c deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.l.deaf.Load() {
			return n, err
		}
	}
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *link) InProcessConn() (net.Conn, error) {
	l.e.mu.Lock()
	srv := l.e.srv
	l.e.mu.Unlock()
	if srv == nil || l.cut.Load() {
		return nil, errors.New("stopped")
	}
	nc, err := srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	return deafConn{nc, l}, nil
}

// connect returns a connection that is closed at the end of the test.
func (e *engine) connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return (&link{e: e}).connect(t, opts...)
}

func (l *link) connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond),
		nats.ReconnectJitter(0, 0)}, opts...)...)
	must(t, err)
	t.Cleanup(nc.Close)
	return nc
}

type state struct{ N int }

// addr is the address of clients that limits apply to.
var addr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}

// testNode is one of several nodes.
type testNode struct {
	*session.Manager[state]
	link  *link
	nc    *nats.Conn
	store session.NodeStore
	hook  *hook
}

// cutOff ends the connection of the node until restore is called.
func (n *testNode) cutOff(t testing.TB) (restore func()) {
	t.Helper()
	n.link.cut.Store(true)
	must(t, n.nc.ForceReconnect())
	waitFor(t, "end of the connection", func() bool { return !n.nc.IsConnected() })
	return func() { n.link.cut.Store(false) }
}

// hook is a NodeStore between a Manager and its store. While it is paused, its node hears of no
// other.
type hook struct {
	session.NodeStore
	node session.Node
	mu   sync.Mutex
	gate chan struct{} // closed: not paused
	fail atomic.Bool   // whether Save returns an error without writing anything
	// skew is how much the clock of the node is ahead of that of the others. The times of records
	// are the only ones of that clock that leave the node.
	skew time.Duration
	// taking, if it is set, is called when Take is about to write the record.
	taking func()
}

// Save implements session.Store.
func (h *hook) Save(put []session.Record, remove []string) error {
	if h.fail.Load() {
		return errors.New("a test refuses it")
	}
	for i := range put {
		put[i].Created, put[i].Seen = put[i].Created.Add(h.skew), put[i].Seen.Add(h.skew)
	}
	return h.NodeStore.Save(put, remove)
}

// Take implements session.NodeStore.
func (h *hook) Take(ctx context.Context, id string, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	r, err := h.NodeStore.Take(ctx, id, ttl, func(r *session.Record) error {
		seen := *r
		seen.Created, seen.Seen = r.Created.Add(-h.skew), r.Seen.Add(-h.skew)
		if h.taking != nil {
			h.taking()
		}
		return check(&seen)
	})
	r.Created, r.Seen = r.Created.Add(-h.skew), r.Seen.Add(-h.skew)
	return r, err
}

func (h *hook) Join(n session.Node) {
	h.node = n
	h.NodeStore.Join(h)
}

func (h *hook) pause() (resume func()) {
	gate := make(chan struct{})
	h.mu.Lock()
	h.gate = gate
	h.mu.Unlock()
	return sync.OnceFunc(func() { close(gate) })
}

func (h *hook) wait() {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (h *hook) Release(ctx context.Context, id string) error {
	h.wait()
	return h.node.Release(ctx, id)
}

func (h *hook) Lost(id string, generation uint64, err error) { h.node.Lost(id, generation, err) }

func (h *hook) Resave() {
	h.wait()
	h.node.Resave()
}

// newNode returns a node that is closed at the end of the test.
func newNode(t testing.TB, e *engine, opts session.Options[state], storeOpts natsstore.Options) *testNode {
	t.Helper()
	n := &testNode{link: &link{e: e}}
	n.nc = n.link.connect(t)
	var err error
	n.store, err = natsstore.OpenImpatient(t.Context(), n.nc, storeOpts, 50*time.Millisecond)
	must(t, err)
	n.hook = &hook{NodeStore: n.store}
	opts.Store = n.hook
	n.Manager, err = session.New(opts)
	must(t, err)
	t.Cleanup(func() {
		if n.Close(context.Background()) != nil {
			n.store.Close() // the engine is away
		}
	})
	return n
}

// client is a Holder that records its revocation.
type client struct{ revoked chan error }

func newClient() *client                         { return &client{make(chan error, 8)} }
func (c *client) Deliver([]byte, int) error      { return nil }
func (c *client) Revoked(by net.Addr, err error) { c.revoked <- err }

// wantRevoked waits for the revocation.
func (c *client) wantRevoked(t *testing.T, want error) {
	t.Helper()
	select {
	case got := <-c.revoked:
		if got != want {
			t.Errorf("revoked: got error %v, want %v", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("revoked: got nothing in 30s, want %v", want)
	}
}

func (n *testNode) create(t testing.TB, c *client) *session.Session[state] {
	t.Helper()
	s, err := n.Create(t.Context(), nil, c, state{})
	must(t, err)
	return s
}

func (n *testNode) attach(t testing.TB, id string, c *client) *session.Session[state] {
	t.Helper()
	s, err := n.Attach(t.Context(), id, nil, c)
	must(t, err)
	return s
}

// generation returns that of a session which the node has; 0 is none.
func (n *testNode) generation(id string) uint64 {
	for _, i := range n.List() {
		if i.ID == id {
			return i.Generation
		}
	}
	return 0
}

func set(t testing.TB, s *session.Session[state], n int) {
	t.Helper()
	must(t, s.Do(func(st *state) { st.N = n }))
}

func wantState(t testing.TB, s *session.Session[state], want int) {
	t.Helper()
	must(t, s.View(func(st *state) {
		if st.N != want {
			t.Errorf("state: got %d, want %d", st.N, want)
		}
	}))
}

// waitFor waits until f returns true.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got no %s in 30s, want it", what)
		}
	}
}

// must stops the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// last returns the last message of a session in the bucket.
func (e *engine) last(t testing.TB, bucket, id string) (*jetstream.RawStreamMsg, error) {
	t.Helper()
	js, err := jetstream.New(e.connect(t))
	must(t, err)
	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	must(t, err)
	return stream.GetLastMsgForSubject(t.Context(), "$KV."+bucket+"."+natsstore.KeyOf(id))
}
