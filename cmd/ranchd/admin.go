package main

import (
	"slices"

	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// adminCommands are those of the operators' shell.
func (d *daemon) adminCommands() []shell.Command {
	o := admin.Options{Server: &d.server, Version: version(), Started: d.began, Config: d.shown}
	for _, e := range d.Endpoints {
		if e.Service == adminService {
			o.Keep = append(o.Keep, e.Name)
		}
	}
	if d.shell != nil {
		o.Sessions = append(o.Sessions, admin.SessionSource{Name: "shell", Sessions: d.shell.Sessions()})
	}
	if d.topics != nil {
		o.Sessions = append(o.Sessions, admin.SessionSource{Name: "topics", Sessions: topicSessions{d.topics}})
	}
	return admin.Commands(o)
}

// shown is what ranchd was started with, as the flags are called.
func (c *config) shown() any { return c.Flags }

// topicSessions are the sessions of the topic server.
type topicSessions struct{ *pubsub.Server }

func (t topicSessions) Stats() session.Stats { return t.Server.Stats().Sessions }
func (t topicSessions) List() []session.Info { return t.Sessions() }

// lookAround are those of them that the shell for everybody has.
func (d *daemon) lookAround() []shell.Command {
	all := admin.Commands(admin.Options{Server: &d.server, Version: version(), Started: d.began})
	return slices.DeleteFunc(all, func(c shell.Command) bool {
		return !slices.Contains([]string{"status", "stats", "connections"}, c.Name)
	})
}
