package clustertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	topicStream   = "ranch_topics"
	sessionStream = "KV_sessions"
	bucketSize    = 64 << 20
)

// cluster is three nodes in this process. What they send to each other goes through proxies.
type cluster struct {
	*workload
	schedule Schedule
	// name is that of no other cluster: a port of a server that was killed may be one of another
	// cluster soon, which refuses the connection then.
	name  string
	nodes [3]*node
	links [3][3]*Proxy                    // from a node to another one
	log   func(node string) server.Logger // nil: none

	pending sync.WaitGroup // ends of faults

	holders  []*holder // guarded by mu, as sessions
	sessions []string
}

func newCluster(t testing.TB, s Schedule) *cluster {
	c := &cluster{workload: newWorkload(t, 700*time.Millisecond), schedule: s, name: rand.Text()}
	c.dial = func(ctx context.Context, i int) (*Wire, error) { return c.nodes[i].dial(ctx) }
	for i := range c.links {
		for j := range c.links {
			p, err := NewProxy("")
			if err != nil {
				t.Fatal(err)
			}
			c.links[i][j] = p
		}
	}
	dir := t.TempDir()
	for i := range c.nodes {
		c.nodes[i] = &node{c: c, i: i, name: fmt.Sprint("n", i), dir: fmt.Sprint(dir, "/", i)}
	}
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() {
			if err := n.startEngine(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Cleanup(c.close)
	elected := func() bool {
		for _, n := range c.nodes {
			if n.engine != nil && len(n.engine.JetStreamClusterPeers()) == len(c.nodes) {
				return true // it is the leader, and knows the others
			}
		}
		return false
	}
	for deadline := time.Now().Add(time.Minute); !elected(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Skip("SKIPPED: the servers have elected no leader within a minute; to run this schedule when the machine has time: add -clusters 1")
		}
	}
	for i, n := range c.nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		if i == 0 && s.Seed%4 > 0 { // otherwise all nodes create the stream and the bucket at once, which takes longer
			c.waitFor("the first node", n.ready)
		}
	}
	c.waitReady()
	return c
}

func (c *cluster) close() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() { n.kill() })
	}
	wg.Wait()
	for i := range c.links {
		for _, p := range c.links[i] {
			p.Close()
		}
	}
}

// waitReady waits until all nodes are ready.
func (c *cluster) waitReady() {
	c.waitFor("ready nodes", func() bool {
		for _, n := range c.nodes {
			if !n.ready() {
				return false
			}
		}
		return true
	})
}

// around calls f with the links from and to a node.
func (c *cluster) around(i int, f func(to, from *Proxy)) {
	for j := range c.nodes {
		if j != i {
			f(c.links[j][i], c.links[i][j])
		}
	}
}

func (c *cluster) cutNode(i int)  { c.around(i, func(to, from *Proxy) { to.Cut(); from.Cut() }) }
func (c *cluster) openNode(i int) { c.around(i, func(to, from *Proxy) { to.Open(); from.Open() }) }

// js returns JetStream as a node sees it that runs.
func (c *cluster) js() (jetstream.JetStream, error) {
	for k := range c.nodes {
		if r := c.nodes[(k+int(c.schedule.Seed))%3].now(); r != nil && r.nc.IsConnected() {
			return jetstream.New(r.nc)
		}
	}
	return nil, errors.New("no node runs")
}

// api calls f with JetStream; the faults may prevent what f does.
func (c *cluster) api(f func(ctx context.Context, js jetstream.JetStream) error) error {
	js, err := c.js()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err = f(ctx, js)
	}
	if err != nil {
		c.logf("JetStream: %v", err)
	}
	return err
}

// run runs the actions of the schedule.
func (c *cluster) run() {
	for _, a := range c.schedule.Actions {
		time.Sleep(a.After)
		c.logf("%v", a)
		c.apply(a)
	}
	c.pending.Wait()
	for i := range c.links {
		for _, p := range c.links[i] {
			p.Open()
		}
	}
	c.logf("everything is repaired")
}

// after calls f at the end of a fault.
func (c *cluster) after(d time.Duration, f func()) {
	c.pending.Go(func() {
		time.Sleep(d)
		f()
	})
}

func (c *cluster) apply(a Action) {
	n := c.nodes[a.Node]
	there, back := c.links[a.Node][a.Other], c.links[a.Other][a.Node]
	link := func() { there.Open(); back.Open() }
	switch a.Op {
	case Kill:
		if n.kill() {
			c.after(a.For, func() { n.revive(false) })
		}
	case Wipe:
		c.wipe(n, a.For)
	case Engine:
		if n.stopEngine() {
			c.after(a.For, n.restartEngine)
		}
	case Pause:
		c.around(a.Node, func(to, from *Proxy) { to.Stall(ToTarget, FromTarget); from.Stall(ToTarget, FromTarget) })
		c.after(a.For, func() { c.openNode(a.Node) })
	case Isolate:
		c.cutNode(a.Node)
		c.after(a.For, func() { c.openNode(a.Node) })
	case CutLink:
		there.Cut()
		back.Cut()
		c.after(a.For, link)
	case HalfOpen: // either node may have made the connection
		there.Stall(ToTarget)
		back.Stall(FromTarget)
		c.after(a.For, link)
	case Slow:
		there.Delay(a.For / 8)
		back.Delay(a.For / 8)
		c.after(a.For, link)
	default:
		c.applyToAll(a)
	}
}

// applyToAll applies actions that concern no node.
func (c *cluster) applyToAll(a Action) {
	switch a.Op {
	case StepDown:
		for _, name := range []string{topicStream, sessionStream} {
			if r := c.nodes[a.Node].now(); r != nil {
				r.nc.Publish("$JS.API.STREAM.LEADER.STEPDOWN."+name, nil)
			}
		}
	case DeleteStream:
		c.api(func(ctx context.Context, js jetstream.JetStream) error {
			c.rec.Add(Event{Kind: Deleted})
			return js.DeleteStream(ctx, topicStream)
		})
	case DeleteSessions:
		c.api(func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, sessionStream) })
	case FullBucket:
		c.limitBucket(-2)
		c.after(a.For, func() { c.limitBucket(bucketSize) })
	case Claim:
		c.claim()
	case Move:
		c.move()
	case OldRecord:
		c.oldRecord()
	}
}

// limitBucket sets the size of the bucket; -2 is what it has now.
func (c *cluster) limitBucket(bytes int64) error {
	return c.api(func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, sessionStream)
		if err != nil {
			return err
		}
		cfg := s.CachedInfo().Config
		if cfg.MaxBytes = bytes; bytes == -2 {
			cfg.MaxBytes = int64(s.CachedInfo().State.Bytes) + 1
		}
		_, err = js.UpdateStream(ctx, cfg)
		return err
	})
}

// wipe kills a node and starts it with an empty disk, if what the other nodes have is complete.
func (c *cluster) wipe(n *node, d time.Duration) {
	c.pending.Wait()
	if !c.inSync() || !n.kill() {
		return
	}
	time.Sleep(d)
	n.revive(true)
	c.waitFor("copies on the new disk", c.inSync)
}

// inSync reports whether all nodes have complete copies.
func (c *cluster) inSync() bool {
	complete := true
	c.api(func(ctx context.Context, js jetstream.JetStream) error {
		for _, name := range []string{topicStream, sessionStream} {
			s, err := js.Stream(ctx, name)
			if err != nil {
				complete = false
				return err
			}
			cl := s.CachedInfo().Cluster
			complete = complete && cl != nil && cl.Leader != "" && len(cl.Replicas) == 2
			for _, r := range cl.Replicas {
				complete = complete && r.Current && !r.Offline && r.Lag == 0
			}
		}
		return nil
	})
	return complete
}
