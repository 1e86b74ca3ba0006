//go:build !noengine

package natsengine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const built = true

// Names that all nodes share.
const (
	clusterName = "ranch"
	routeUser   = "ranch"
)

// startTimeout limits the start of nats-server, which reads its streams.
const startTimeout = 30 * time.Second

// natsServer is a nats-server in this process.
type natsServer struct {
	*server.Server
	size     int // number of nodes that are configured
	store    *storeDir
	password string        // of clients
	started  chan struct{} // closed when Start has returned
	ready    atomic.Bool   // JetStream was ready once
}

// startServer starts a nats-server without signal handlers. With Options.DontListen, nats-server 2.15
// would never open the listener for routes, so there is a listener for clients: on loopback, with a
// random port, and a random password that only this process knows.
func startServer(o Options, log *serverLog) (embedded, error) {
	so, size, err := serverOptions(o)
	if err != nil {
		return nil, err
	}
	if o.Listen != "" { // nats-server reports a port in use after it has opened its files
		ln, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return nil, err
		}
		ln.Close()
	}
	store, err := openStore(o.Store, o.Name, o.Listen != "")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(so)
	if err != nil {
		store.close()
		return nil, err
	}
	s.SetLoggerV2(log, false, false, false)
	n := &natsServer{Server: s, size: size, store: store, password: so.Password, started: make(chan struct{})}
	go func() {
		defer close(n.started)
		s.Start()
	}()
	if err := n.await(log); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

// serverOptions returns the options of nats-server and the number of nodes.
func serverOptions(o Options) (so *server.Options, size int, err error) {
	so = &server.Options{
		ServerName: o.Name, NoSigs: true, Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: o.Name, Password: rand.Text(), JetStream: true, StoreDir: o.Store, DisableJetStreamBanner: true,
		SyncInterval: o.SyncInterval,
	}
	if o.SyncInterval < 0 {
		so.SyncInterval, so.SyncAlways = 0, true
	}
	if o.Listen == "" {
		return so, 1, nil
	}
	host, port, err := splitAddress(o.Listen)
	if err != nil {
		return nil, 0, err
	}
	c := &so.Cluster
	c.Name, c.Host, c.Port = clusterName, host, port
	c.ConnectBackoff, c.PingInterval = true, 5*time.Second
	c.PoolSize = 1                // of each account, of which there is one
	so.ReconnectErrorReports = 60 // logs one in 60 failed attempts
	if o.Secret != "" {
		c.Username, c.Password = routeUser, secretOf(o.Secret)
	}
	if o.TLS != nil {
		c.TLSConfig, c.TLSTimeout = o.TLS, 5
	}
	peers, err := OtherPeers(o.Listen, o.Peers)
	if err != nil {
		return nil, 0, err
	}
	// The number of routes is that of the first members of the consensus, so the own address, which
	// nats-server recognizes, is one of them.
	for _, p := range append(slices.Clone(peers), ownAddress(host, port)) {
		u := &url.URL{Scheme: "nats-route", Host: p}
		if o.Secret != "" {
			u.User = url.UserPassword(routeUser, c.Password)
		}
		so.Routes = append(so.Routes, u)
	}
	return so, len(peers) + 1, nil
}

func splitAddress(s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	return host, port, err
}

// ownAddress returns an address by which this node reaches itself.
func ownAddress(host string, port int) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// await waits until the server has started.
func (n *natsServer) await(log *serverLog) error {
	ready := make(chan bool, 1)
	go func() { ready <- n.ReadyForConnections(startTimeout) }()
	select {
	case text := <-log.fatal:
		return errors.New(text)
	case ok := <-ready:
		if !ok {
			return fmt.Errorf("nats-server has not started within %v", startTimeout)
		}
	}
	select {
	case text := <-log.fatal:
		return errors.New(text)
	default:
		return nil
	}
}

// health requires a leader of the cluster only until JetStream was ready once: while a new leader
// is elected, no stream can be created, but existing streams can be used.
func (n *natsServer) health() error {
	if n.ready.Load() {
		if up, needed := n.nodes(), n.size/2+1; up < needed {
			return fmt.Errorf("%d of %d nodes are connected, and %d are needed", up, n.size, needed)
		}
		return nil
	}
	h := n.Healthz(&server.HealthzOptions{JSMetaOnly: true})
	if h.Error == "" && h.Status == "ok" {
		return nil
	}
	if n.size == 1 {
		return errors.New(h.Error)
	}
	if up := n.nodes(); up < n.size && n.empty() {
		return fmt.Errorf("%d of %d nodes are connected, and the first start of a cluster needs all: %s", up, n.size, h.Error)
	}
	return fmt.Errorf("%d of %d nodes are connected: %s", n.nodes(), n.size, h.Error)
}

// empty reports whether this node has no state of a cluster. nats-server elects a leader among such
// nodes only if all vote, because a node that is down might have state.
func (n *natsServer) empty() bool {
	const system, meta = "$SYS", "_meta_"
	all := n.Raftz(&server.RaftzOptions{AccountFilter: system, GroupFilter: meta})
	return all != nil && (*all)[system][meta].PIndex == 0
}

func (n *natsServer) options(name string) []nats.Option {
	return []nats.Option{nats.InProcessServer(n), nats.UserInfo(name, n.password)}
}

// InProcessConn returns a connection, or an error before JetStream is ready for the first time:
// JetStream does not answer requests that it receives earlier.
func (n *natsServer) InProcessConn() (net.Conn, error) {
	if !n.ready.Load() {
		if err := n.health(); err != nil {
			return nil, err
		}
		n.ready.Store(true)
	}
	return n.Server.InProcessConn()
}

func (n *natsServer) nodes() int { return n.NumRemotes() + 1 }

func (n *natsServer) stop() {
	n.Shutdown()
	<-n.started
	n.WaitForShutdown()
	n.store.close()
}
