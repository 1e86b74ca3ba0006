package main

import (
	"slices"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// adminCommands are those of the operators' shell.
func (d *daemon) adminCommands() []shell.Command {
	o := admin.Options{Server: &d.server, Version: version(), Started: d.began, Config: d.shown}
	for _, e := range d.Endpoints {
		if e.Service == adminService {
			o.Protected = append(o.Protected, e.Name)
		}
	}
	if d.shell != nil {
		o.Sessions = append(o.Sessions, admin.Sessions{Name: "shell", Stats: d.shell.Sessions().Stats, List: d.shell.Sessions().List})
	}
	if d.topics != nil {
		o.Sessions = append(o.Sessions, admin.Sessions{Name: "topics", Stats: func() session.Stats { return d.topics.Stats().Sessions }, List: d.topics.Sessions})
	}
	return admin.Commands(o)
}

// shown is what ranchd was started with, as the flags are called.
func (c *config) shown() any { return c.Flags }

// lookAround are those of them that the shell for everybody has.
func (d *daemon) lookAround() []shell.Command {
	all := admin.Commands(admin.Options{Server: &d.server, Version: version(), Started: d.began})
	return slices.DeleteFunc(all, func(c shell.Command) bool {
		return !slices.Contains([]string{"status", "stats", "connections"}, c.Name)
	})
}
