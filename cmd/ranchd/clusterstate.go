package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/internal/nodes"
	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/ranch/metrics"
)

// degraded returns why the cluster cannot keep its promises, or nil.
func (cl *cluster) degraded() error {
	if err := cl.engine.Degraded(); err != nil {
		return err
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(cl.parts)) {
		if err := cl.parts[name].Degraded(); err != nil {
			return fmt.Errorf("%s: %w%s", name, err, advice(err))
		}
	}
	return nil
}

// advice returns what to do about an error that does not say so.
func advice(err error) string {
	if e := new(jetstream.APIError); errors.As(err, &e) && e.ErrorCode == jetstreamNoStorage {
		return "; each topic service, and the sessions of each service, reserve 1 GiB of disk"
	}
	return ""
}

// jetstreamNoStorage is the error code of JetStream for a stream for which the disk has no room.
const jetstreamNoStorage = 10047

// Times between two checks of the cluster, and between two logged reasons.
const (
	clusterInterval = 250 * time.Millisecond
	reasonInterval  = 10 * time.Second
)

// watch logs when the cluster becomes ready or degraded, and tells the service manager. It checks
// the state at intervals, which costs a few locks: brokers have no callback for their reason.
func (cl *cluster) watch(ctx context.Context) {
	tick := time.NewTicker(clusterInterval)
	defer tick.Stop()
	before, at := errors.New(""), time.Time{} // neither ready nor degraded
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := cl.degraded()
		switch {
		case err == nil && before == nil:
		case err == nil:
			cl.d.log.Info("cluster ready", "nodes", cl.engine.Nodes())
			cl.d.notify.clusterState("")
		case before == nil || before.Error() == "" || err.Error() != before.Error() && time.Since(at) >= reasonInterval:
			cl.d.log.Warn("cluster degraded", "err", err)
			cl.d.notify.clusterState(err.Error())
		default:
			continue // before stays the reason that was logged
		}
		before, at = err, time.Now()
	}
}

// maxClusterWait limits for how long a successor waits for the cluster.
const maxClusterWait = 5 * time.Second

// awaitCluster makes a successor wait until the cluster is ready: until then it would refuse
// clients that its predecessor serves. If NATS is away, it goes on after a while, because both
// would refuse them.
func (d *daemon) awaitCluster(ctx context.Context) {
	if d.cluster == nil || d.upgrader.Predecessor() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(maxClusterWait, d.config().Upgrade.Timeout/2))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for d.cluster.degraded() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// checks returns the conditions of readiness besides those of listeners.
func (d *daemon) checks() map[string]func(context.Context) error {
	if d.cluster == nil {
		return nil
	}
	return map[string]func(context.Context) error{clusterTable: func(context.Context) error { return d.cluster.degraded() }}
}

// clusterStatus returns the fields of the command status.
func (d *daemon) clusterStatus() shell.Fields {
	cl := d.cluster
	if cl == nil {
		return nil
	}
	state := "ready"
	if err := cl.degraded(); err != nil {
		state = "degraded: " + termtext.Line(err.Error())
	}
	state += "; " + d.nodes.Summary()
	if up := cl.engine.Nodes(); up < cl.config.Nodes { // those that were never heard are not in the summary
		state += fmt.Sprintf("; %d of %d connected", up, cl.config.Nodes)
	}
	return shell.Fields{{Key: "node", Title: "Node", Value: cl.config.Engine.Name}, {Key: "cluster", Title: "Cluster", Value: state}}
}

// metrics returns the figures of the cluster.
func (cl *cluster) metrics() metrics.Cluster {
	st := cl.d.nodes.Stats()
	m := metrics.Cluster{
		Ready: cl.degraded() == nil, State: string(st.State), Nodes: map[string]int{}, Missed: st.Missed, Rejected: st.Rejected, Commands: st.Served,
		Brokers: map[string]metrics.Broker{},
	}
	for _, s := range nodes.States {
		m.Nodes[string(s)] = st.Nodes[s]
	}
	for _, s := range cl.d.allServices() {
		if s.broker == nil {
			continue
		}
		st := s.broker.Stats()
		m.Brokers[s.key.String()] = metrics.Broker{Connected: st.Connected, Reconnects: st.Reconnects, Slow: st.Slow, Gaps: st.Gaps, Filled: st.Filled,
			Lost: st.Lost, Missed: st.Missed}
	}
	return m
}
