package main

import (
	"cmp"
	"maps"
	"slices"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// operatorCommands returns the commands of the operators' shell, of which many run at other nodes
// too.
func (d *daemon) operatorCommands() []shell.Command { return d.nodes.Commands(d.localCommands()) }

// localCommands returns the commands that run at this node.
func (d *daemon) localCommands() []shell.Command {
	return append(admin.Commands(admin.Options{
		Server: &d.server, Version: version(), Started: d.started,
		Config: func() any { return d.config().values() }, Reload: d.reloadCommand, Upgrade: d.upgrade, Current: d.adminState,
		Status: d.clusterStatus,
	}), d.dashboardCommand(), d.topicsCommand(), d.upstreamsCommand())
}

// adminState returns the listeners of operators, and the sessions of the services.
func (d *daemon) adminState() (protected []string, sessions []admin.Sessions) {
	for _, l := range d.config().Listeners {
		if l.Service.isOperators() {
			protected = append(protected, l.Name)
		}
	}
	for _, s := range d.allServices() {
		switch {
		case s.sessions != nil:
			sessions = append(sessions, admin.Sessions{Name: s.key.String(), Stats: s.sessions.Stats, List: s.sessions.List})
		case s.topics != nil:
			stats := func() session.Stats { return s.topics.Stats().Sessions }
			sessions = append(sessions, admin.Sessions{Name: s.key.String(), Stats: stats, List: s.topics.Sessions})
		}
	}
	return protected, sessions
}

// allServices returns the running services, sorted by protocol and name.
func (d *daemon) allServices() []*runningService {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Collect(maps.Values(d.services))
	slices.SortFunc(all, func(a, b *runningService) int { return cmp.Compare(a.key.String(), b.key.String()) })
	return all
}

// publicCommands returns those of them that the public shell has.
func (d *daemon) publicCommands() []shell.Command {
	all := admin.Commands(admin.Options{Server: &d.server, Version: version(), Started: d.started})
	return slices.DeleteFunc(all, func(c shell.Command) bool {
		return !slices.Contains([]string{"status", "stats", "connections"}, c.Name)
	})
}
