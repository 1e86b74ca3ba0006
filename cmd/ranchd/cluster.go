package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"

	"goranch/internal/natsengine"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/natsbroker"
	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// cluster is the part of the daemon that the table [cluster] starts: NATS, and what services use of
// it.
type cluster struct {
	d      *daemon
	config *clusterConfig
	engine *natsengine.Engine

	mu    sync.Mutex
	parts map[string]clusterPart // of services, by what they are

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// clusterPart is a broker or a store of sessions.
type clusterPart interface{ Degraded() error }

// startCluster starts NATS if the configuration has a cluster. It does not wait for other nodes.
func (d *daemon) startCluster(c *config) error {
	if c.Cluster == nil {
		return nil
	}
	cl := &cluster{d: d, config: c.Cluster, parts: map[string]clusterPart{}}
	o := c.Cluster.Engine
	o.Logger = d.log
	var err error
	if cl.engine, err = natsengine.Start(o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cl.cancel = cancel
	d.cluster = cl
	cl.done.Go(func() { cl.watch(ctx) })
	d.log.Info("cluster node started", "node", o.Name, "text", cl.about())
	return d.startNodes(cl.engine.Conn(), o.Name, cl.degraded)
}

// closeCluster stops NATS after all services.
func (d *daemon) closeCluster() {
	if d.cluster == nil {
		return
	}
	d.closeNodes()
	d.cluster.cancel()
	d.cluster.done.Wait()
	d.cluster.engine.Close()
}

// about says what the cluster tolerates.
func (cl *cluster) about() string {
	c, copies := cl.config, "copies"
	if c.Replicas == 1 {
		copies = "copy"
	}
	switch {
	case c.Nodes == 0:
		return fmt.Sprintf("NATS at %s; topics and sessions have %d %s", strings.Join(c.Engine.URLs, ", "), c.Replicas, copies)
	case c.Nodes == 1:
		return "a single node: topics and sessions have 1 copy, and are lost with its disk"
	}
	return fmt.Sprintf("%d nodes, of which %d must be up; topics and sessions have %d %s", c.Nodes, c.needed(), c.Replicas, copies)
}

// nodeName returns the name among the brokers. During an upgrade, a predecessor has the name of the
// configuration.
func (cl *cluster) nodeName() string {
	if cl.d.upgrader.Predecessor() == 0 {
		return cl.config.Engine.Name
	}
	return fmt.Sprintf("%.50s.%d", cl.config.Engine.Name, os.Getpid())
}

// clusterName returns the name of a service in NATS, where letters, digits, - and _ are allowed,
// and 32 bytes. It is the same on all nodes.
func (k serviceKey) clusterName(prefix string) string {
	name := k.name
	if name == "" || name == k.protocol.String() {
		name = k.protocol.String()
	}
	if strings.Contains(name, ".") || len(name) > 20 {
		sum := sha256.Sum256([]byte(name))
		name = "x-" + hex.EncodeToString(sum[:8])
	}
	return prefix + name
}

// add makes a part count for the readiness. remove ends that.
func (cl *cluster) add(name string, p clusterPart) (remove func(context.Context) error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.parts[name] = p
	return func(context.Context) error {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.parts[name] == p {
			delete(cl.parts, name)
		}
		return nil
	}
}

// newBroker creates the broker of a topic server, or returns nil if there is no cluster.
func (d *daemon) newBroker(s *runningService, t topicsConfig) (pubsub.Broker, error) {
	if d.cluster == nil {
		return nil, nil
	}
	cl := d.cluster
	prefix := s.key.clusterName("ranch-")
	if s.key.name == topicsService.String() {
		prefix = "ranch"
	}
	b, err := natsbroker.New(natsbroker.Options{
		URL: cl.engine.URL(), NATS: cl.engine.NATS(), Prefix: prefix, Node: cl.nodeName(), Replicas: cl.config.Replicas,
		Keep: max(t.History, 64), Ordered: func(string) bool { return t.History > 0 },
		OnError: func(err error) { cl.engine.Warn(fmt.Sprintf("%s: %v", s.key, err)) },
	})
	if err != nil {
		return nil, err
	}
	s.broker = b
	s.closers = append(s.closers, func(context.Context) error { return b.Close() }, cl.add("topics "+s.key.name, b))
	return b, nil
}

// newStore returns the store of sessions of a service: that of the cluster, or one in the directory
// state, or nil.
func (d *daemon) newStore(s *runningService, c *config) (session.Store, error) {
	if d.cluster == nil {
		return d.openStore(c.StateDir, s.key)
	}
	cl := d.cluster
	st := newLateStore(func(ctx context.Context) (session.NodeStore, error) {
		if err := cl.engine.Degraded(); err != nil {
			return nil, err // a request would not be answered
		}
		bucket := s.key.protocol.String() + s.key.clusterName("-sessions-")
		return natsstore.Open(ctx, cl.engine.Conn(), natsstore.Options{Bucket: bucket, Node: cl.nodeName(), Replicas: cl.config.Replicas})
	})
	s.closers = append(s.closers, cl.add("sessions of "+s.key.String(), st))
	return st, nil
}
