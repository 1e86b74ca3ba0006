package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/natsbroker"
	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
	"goranch/ranch"
	"goranch/transport"
)

// state is that of a session.
type state struct{ Log []string }

// node is a topic server and a session manager with a NATS server, in this process.
type node struct {
	c    *cluster
	i    int
	name string
	dir  string

	mu      sync.Mutex
	engine  *server.Server // nil: away
	running *running       // nil: killed
	lives   int            // guarded by ops
	ops     sync.Mutex     // held while the node is killed, or it or its engine is started
}

// running is what a node has besides the engine, until it is killed.
type running struct {
	life     int
	mem      transport.Mem
	broker   *natsbroker.Broker
	topics   *pubsub.Server
	listener *ranch.Listener
	nc       *nats.Conn // of the sessions
	ctx      context.Context
	cancel   context.CancelFunc
	opening  sync.WaitGroup

	mu       sync.Mutex
	sessions *session.Manager[state] // nil until the bucket is open
	store    session.NodeStore
}

// startEngine starts the NATS server of the node, with new ports.
func (n *node) startEngine() error {
	opts := &server.Options{
		ServerName: n.name, Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: n.dir, NoLog: true, NoSigs: true,
		Cluster: server.ClusterOpts{
			Name: n.c.name, Host: "127.0.0.1", Port: server.RANDOM_PORT, PingInterval: 300 * time.Millisecond, MaxPingsOut: 2,
			// Servers tell each other these addresses, which must not lead around the proxies.
			Advertise: fmt.Sprintf("127.0.0.1:%d", 1+n.i),
		},
	}
	for j := range n.c.nodes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: n.c.links[n.i][j].Addr()})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	if n.c.log != nil {
		s.SetLoggerV2(n.c.log(n.name), true, false, false)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return errors.New("the NATS server has not started in 20 s")
	}
	for j := range n.c.nodes {
		n.c.links[j][n.i].SetTarget(s.ClusterAddr().String())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.engine = s
	return nil
}

// stopEngine reports false if it is away already.
func (n *node) stopEngine() bool {
	n.mu.Lock()
	s := n.engine
	n.engine = nil
	n.mu.Unlock()
	if s == nil {
		return false
	}
	s.Shutdown()
	s.WaitForShutdown()
	return true
}

// InProcessConn implements nats.InProcessConnProvider.
func (n *node) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine == nil {
		return nil, errors.New("the engine is away")
	}
	return n.engine.InProcessConn()
}

// start starts what the node has besides the engine.
func (n *node) start() (err error) {
	n.lives++
	r := &running{life: n.lives}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	logged := func(err error) { n.c.logf("node %d: %v", n.i, err) }
	r.broker, err = natsbroker.New(natsbroker.Options{
		NATS: []nats.Option{nats.InProcessServer(n)}, Node: n.name, Replicas: 3, Keep: n.c.schedule.Keep, MaxBytes: 64 << 20,
		OnError: logged,
	})
	if err != nil {
		return err
	}
	r.topics, err = pubsub.NewServer(pubsub.Options{Broker: r.broker, History: n.c.schedule.History, HistoryBytes: 16 << 20, OnError: logged})
	if err != nil {
		return err
	}
	r.listener, err = new(ranch.Server).StartListener("topics", &r.mem, ranch.Options{
		Addr: "topics", Logger: slog.New(slog.DiscardHandler), ShutdownTimeout: ranch.BrutalKill,
	}, r.topics)
	if err != nil {
		return err
	}
	r.nc, err = nats.Connect("", nats.InProcessServer(n), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		return err
	}
	r.opening.Go(func() { n.openSessions(r) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = r
	return nil
}

// openSessions opens the bucket as soon as it can be.
func (n *node) openSessions(r *running) {
	for r.ctx.Err() == nil {
		store, err := natsstore.Open(r.ctx, r.nc, natsstore.Options{Node: n.name, Replicas: 3, MaxBytes: bucketSize, Timeout: time.Second})
		if err != nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.ctx.Done():
			}
			continue
		}
		m, err := session.New(session.Options[state]{Store: &takes{store, n}})
		if err != nil {
			n.c.logf("node %d: %v", n.i, err)
			return
		}
		r.mu.Lock()
		r.sessions, r.store = m, store
		r.mu.Unlock()
		return
	}
}

// takes records the takeovers of a node.
type takes struct {
	session.NodeStore
	n *node
}

func (s *takes) Take(ctx context.Context, id string, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	r, err := s.NodeStore.Take(ctx, id, ttl, check)
	if err == nil {
		s.n.c.rec.Add(Event{Kind: Taken, Session: id, Node: s.n.name, Generation: r.Generation})
	}
	return r, err
}

// now returns what runs now, nil if the node is killed.
func (n *node) now() *running {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

// ready reports whether the node can keep its promises.
func (n *node) ready() bool {
	r := n.now()
	return r != nil && r.topics.Degraded() == nil && r.manager() != nil
}

// manager returns nil if there is none now.
func (r *running) manager() *session.Manager[state] {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions
}

// dial connects a client to the topic server.
func (n *node) dial(ctx context.Context) (*Wire, error) {
	r := n.now()
	if r == nil {
		return nil, errors.New("the node is killed")
	}
	nc, err := r.mem.Dial(ctx, "topics")
	if err != nil {
		return nil, err
	}
	return Open(nc)
}

// kill ends the node as if its process had been killed: what it does while it ends does not arrive
// anywhere. It reports false if the node was killed already.
func (n *node) kill() bool {
	n.ops.Lock()
	defer n.ops.Unlock()
	n.mu.Lock()
	r := n.running
	n.running = nil
	n.mu.Unlock()
	if r == nil {
		return false
	}
	n.c.cutNode(n.i)
	r.cancel()
	n.stopEngine()
	r.nc.Close()
	r.listener.Stop()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.opening.Wait()
	if m := r.manager(); m != nil {
		m.Close(ended)
		r.store.Close()
	}
	r.topics.Close(ended)
	r.broker.Close()
	return true
}

// restartEngine starts the engine if the node is not killed, and the engine is away.
func (n *node) restartEngine() {
	n.ops.Lock()
	defer n.ops.Unlock()
	n.mu.Lock()
	start := n.running != nil && n.engine == nil
	n.mu.Unlock()
	if !start {
		return
	}
	if err := n.startEngine(); err != nil {
		n.c.t.Errorf("engine of node %d: got %v, want no error", n.i, err)
	}
}

// revive starts the node again, on an empty disk if wipe is set.
func (n *node) revive(wipe bool) {
	n.ops.Lock()
	defer n.ops.Unlock()
	if wipe {
		if err := os.RemoveAll(filepath.Join(n.dir, "jetstream")); err != nil {
			n.c.t.Errorf("RemoveAll: got %v, want no error", err)
		}
	}
	n.c.openNode(n.i)
	err := n.startEngine()
	if err == nil {
		err = n.start()
	}
	if err != nil {
		n.c.t.Errorf("start of node %d: got %v, want no error", n.i, err)
	}
}
