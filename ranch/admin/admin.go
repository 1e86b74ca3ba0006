// Package admin is the commands with which operators look at a server and change it while it runs.
//
// [Commands] returns them for a shell, which is served like any protocol:
//
//	s, err := shell.New(shell.Options{
//		Commands: admin.Commands(admin.Options{Server: server, Version: version}),
//		Audit:    admin.Audit(logger),
//	})
//	…
//	server.StartListener("admin", transport.TCP{}, ranch.Options{Addr: "unix:/run/server.sock"}, s)
//
// Viewers may look: status, stats, listeners, connections, connection, closed, top, alarms, limits, descriptors, memory,
// goroutines, sessions, traces, config and version. Operators may change: kill, cap, limit, suspend, resume, drain, trace
// and gc; each of these is told to the shell's Audit when it has ended.
//
// A command that chooses among connections takes a [Filter].
//
// The listener by which the operator is connected, and those that Options.Keep names, are left out where a command says "all",
// so that who suspends all can still come back.
package admin

import (
	"slices"
	"sync"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// Options are what [Commands] are about. The zero value of each field is its default.
type Options struct {
	// Server has the listeners. nil is ranch.Default.
	Server *ranch.Server
	// Keep names listeners that "all" does not mean, and of which "trace NETWORK" shows nothing: those of the shell.
	Keep []string
	// Sessions are shown by the commands sessions and status. Its ids, which are secrets, are not. nil is none.
	Sessions []SessionSource
	// Config returns what the server was started with, with secrets left out: every viewer may see it. It is shown as
	// [shell.Call.Return] says. nil is nothing.
	Config func() any
	// Version is the server's. "" is "unknown".
	Version string
	// Started is when the server was started. The zero value is the time of the call of Commands.
	Started time.Time
}

// SessionSource is a manager of sessions by name, such as that of a shell:
//
//	admin.SessionSource{Name: "shell", Sessions: s.Sessions()}
type SessionSource struct {
	Name     string
	Sessions Sessions
}

// Sessions is what a [session.Manager] of any type can tell.
type Sessions interface {
	Stats() session.Stats
	List() []session.Info
}

// admin is the commands' own state.
type admin struct {
	Options
	server *ranch.Server

	mu     sync.Mutex
	traces map[*tracing]struct{}
}

// Commands returns the commands. They replace the shell's own of the names status, stats, connections and version.
func Commands(o Options) []shell.Command { return newAdmin(o).commands() }

func newAdmin(o Options) *admin {
	a := &admin{Options: o, server: o.Server, traces: map[*tracing]struct{}{}}
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
	return slices.Concat(a.statusCommands(), a.connectionCommands(), a.listenerCommands(), a.liveCommands(), a.processCommands())
}
