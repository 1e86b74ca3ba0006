package main

import (
	"strings"

	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch/admin"
)

// adminCommands are those of the operators' shell, which is made after the others.
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

// topicSessions are those of the topic server.
type topicSessions struct{ s *pubsub.Server }

func (t topicSessions) Stats() session.Stats { return t.s.Stats().Sessions }
func (t topicSessions) List() []session.Info { return t.s.Sessions() }

// shown is what the program was started with, as far as viewers may see it: no files, no arguments of programs.
func (d *daemon) shown() any {
	var listen, programs []string
	for _, e := range d.Endpoints {
		listen = append(listen, e.String())
	}
	for _, p := range d.Shell.Programs {
		programs = append(programs, p.Name)
	}
	return shell.Fields{
		{Key: "listen", Title: "--listen", Value: strings.Join(listen, " ")}, {Key: "program", Title: "--program", Value: strings.Join(programs, " ")},
		{Key: "max_connections", Title: "--max-connections", Value: limitText(d.Options.MaxConnections)},
		{Key: "shutdown_timeout", Title: "--shutdown-timeout", Value: limitOf(d.Drain)},
		{Key: "log_level", Title: "--log-level", Value: strings.ToLower(d.LogLevel.String())},
		{Key: "sessions_kept", Title: "Sessions outlast a restart", Value: d.Sessions.Dir != ""},
	}
}

// lookAround are those of them that the shell for everybody has.
func (d *daemon) lookAround() []shell.Command { return nil }
