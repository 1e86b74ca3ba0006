package main

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"goranch/internal/build"
	"goranch/internal/nodes"
	"goranch/ranch"
	"goranch/ranch/admin"
)

// startNodes makes this node known to the others, and runs commands of their operators. degraded
// returns why the cluster cannot keep its promises, or nil.
func (d *daemon) startNodes(nc *nats.Conn, name string, degraded func() error) error {
	n, err := nodes.New(nc, nodes.Options{
		Name: name, Version: build.Module(), Started: d.started, Commands: d.localCommands(), Audit: admin.Audit(d.log), Logger: d.log,
		State: func() (nodes.State, string) { return d.nodeState(degraded) }, Load: d.nodeLoad,
	})
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	d.nodes = n // before commands of other nodes use it
	return n.Start()
}

// closeNodes tells the other nodes that this one stops. It may be called again.
func (d *daemon) closeNodes() {
	if d.nodes != nil {
		d.nodes.Close()
	}
}

// nodeState returns the state that other nodes see. The listeners of operators do not count.
func (d *daemon) nodeState(degraded func() error) (nodes.State, string) {
	if d.stopping.Err() != nil {
		return nodes.Draining, "the process is stopping"
	}
	serving, draining, reason := 0, 0, ""
	operators, _ := d.adminState()
	for _, r := range d.all() {
		s := r.l.Status()
		switch {
		case slices.Contains(operators, r.l.Ref()):
			continue
		case s == ranch.Draining || s == ranch.Stopping || s == ranch.Stopped:
			draining++
		default:
			serving++
		}
		if s != ranch.Running {
			reason = fmt.Sprintf("listener %s is %s", r.l.Ref(), s)
		}
	}
	switch err := degraded(); {
	case !d.serving.Load():
		return nodes.Starting, ""
	case draining > 0 && serving == 0:
		return nodes.Draining, reason
	case err != nil:
		return nodes.Degraded, err.Error()
	case reason != "":
		return nodes.Degraded, reason
	}
	return nodes.Ready, ""
}

// nodeLoad returns the load that other nodes see.
func (d *daemon) nodeLoad() (l nodes.Load) {
	operators, sessions := d.adminState()
	for _, r := range d.all() {
		info := r.l.Info()
		if !slices.Contains(operators, info.Ref) {
			l.Connections += info.AllConnections
		}
		if info.Addr != nil && info.Status != ranch.Stopped {
			l.Listeners = append(l.Listeners, nodes.Listener{Name: info.Ref, Address: info.Addr.String()})
		}
	}
	for _, s := range sessions {
		st := s.Stats()
		l.Sessions += st.Attached + st.Detached
	}
	for _, s := range d.allServices() {
		if s.topics != nil {
			l.Subscribers += s.topics.Stats().Clients
		}
	}
	return l
}
