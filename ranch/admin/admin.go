// Package admin provides the commands of an operators' shell, which show the state of a server and
// change it while it runs.
//
//	s, err := shell.New(shell.Options{
//		Commands: admin.Commands(admin.Options{Server: server, Version: version}),
//		Audit:    admin.Audit(logger),
//	})
//	…
//	server.StartListener("admin", transport.TCP{}, ranch.Options{Addr: "unix:/run/server.sock"}, s)
//
// Viewers can run the commands that show something: status, stats, listeners, connections,
// connection, closed, sources, top, alarms, limits, bans, descriptors, memory, goroutines,
// sessions, traces, config and version. Operators can also run those that change something: kill,
// end, ban, unban, cap, limit, suspend, resume, drain, reload, upgrade, trace and gc. The shell
// passes each call of these to its Audit.
//
// In suspend, resume and drain the name "all" excludes the listener of the operator's own
// connection and those in Options.Protected, so the operator can connect again after "suspend all".
package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// Options are the settings of [Commands]. The zero value of each field is its default.
type Options struct {
	// Server has the listeners. nil is ranch.Default.
	Server *ranch.Server
	// Protected names listeners that "all" excludes and that a trace of a network does not show:
	// those of the operators' shell.
	Protected []string
	// Sessions are shown by the commands sessions and status, without their ids, which are secret.
	// nil is none.
	Sessions []Sessions
	// Config returns the configuration of the server for the command config. Every viewer can read
	// it, so it must not contain secrets. [shell.Call.Return] says how values are shown. nil shows
	// an error.
	Config func() any
	// Current returns further Protected and Sessions, for a server whose listeners change. It is
	// called by commands, concurrently. nil is none.
	Current func() (protected []string, sessions []Sessions)
	// Status returns further fields of the command status. It is called concurrently. nil is none.
	Status func() shell.Fields
	// Reload reads the configuration again for the command reload, and applies what has changed:
	// everything, or nothing if it returns an error. ctx ends if the command is cancelled. nil:
	// there is no such command.
	Reload func(ctx context.Context) ([]Change, error)
	// Upgrade replaces the process by a new one for the command upgrade, as the method of that name
	// in package ranch/upgrade does. progress shows what happens. ctx ends if the command is
	// cancelled. nil: there is no such command.
	Upgrade func(ctx context.Context, progress func(string)) (Upgraded, error)
	// Version is the version of the server. "" is "unknown".
	Version string
	// Started is when the server was started. The zero value is the time of the call of Commands.
	Started time.Time
}

// Sessions gives access to the sessions of one service, for example those of a shell:
//
//	m := s.Sessions()
//	admin.Sessions{Name: "shell", Stats: m.Stats, List: m.List}
//
// Both functions are required and must be safe for concurrent use.
type Sessions struct {
	Name  string // the service
	Stats func() session.Stats
	List  func() []session.Info
}

// admin is the state that the commands share.
type admin struct {
	Options
	server *ranch.Server

	mu     sync.Mutex
	traces map[*trace]struct{} // running traces
}

// Commands returns the commands. They replace the built-in commands status, stats, connections and
// version of the shell.
func Commands(o Options) []shell.Command { return newAdmin(o).commands() }

func newAdmin(o Options) *admin {
	a := &admin{Options: o, server: o.Server, traces: map[*trace]struct{}{}}
	if a.server == nil {
		a.server = ranch.Default
	}
	if a.Version == "" {
		a.Version = "unknown"
	}
	if a.Started.IsZero() {
		a.Started = time.Now()
	}
	return a
}

func (a *admin) commands() []shell.Command {
	return slices.Concat(
		a.statusCommands(), a.sessionCommands(),
		a.connectionCommands(), a.closedCommands(), a.sourceCommands(), a.killCommands(), a.banCommands(),
		a.listenerCommands(), a.controlCommands(), a.reloadCommands(), a.upgradeCommands(), a.drainCommands(), a.alarmCommands(), a.limitCommands(),
		a.topCommands(), a.traceCommands(),
		a.memoryCommands(), a.goroutineCommands(), a.descriptorCommands())
}
