package main

import (
	"slices"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// operatorCommands returns the commands of the operators' shell.
func (d *daemon) operatorCommands() []shell.Command {
	o := admin.Options{Server: &d.server, Version: version(), Started: d.started, Config: func() any { return d.FlagValues }}
	o.Protected = d.protected()
	if d.shell != nil {
		m := d.shell.Sessions()
		o.Sessions = append(o.Sessions, admin.Sessions{Name: "shell", Stats: m.Stats, List: m.List})
	}
	if d.topics != nil {
		stats := func() session.Stats { return d.topics.Stats().Sessions }
		o.Sessions = append(o.Sessions, admin.Sessions{Name: "topics", Stats: stats, List: d.topics.Sessions})
	}
	commands := append(admin.Commands(o), d.dashboardCommand())
	if d.topics != nil {
		commands = append(commands, d.topicsCommand())
	}
	return commands
}

// publicCommands returns those of them that the public shell has.
func (d *daemon) publicCommands() []shell.Command {
	all := admin.Commands(admin.Options{Server: &d.server, Version: version(), Started: d.started})
	return slices.DeleteFunc(all, func(c shell.Command) bool {
		return !slices.Contains([]string{"status", "stats", "connections"}, c.Name)
	})
}
