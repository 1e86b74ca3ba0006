package shell

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"goranch/internal/option"
	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// Options are the settings of a [Shell]. The zero value of each field is its default.
type Options struct {
	// Commands are added to the built-in commands. [Shell.AddCommands] adds more later.
	Commands []Command
	// Programs can be run as commands. nil is none.
	Programs []Program
	// Root is the directory that cd and ls can access and in which programs start. Neither ".." nor
	// symbolic links lead out of it. "" disables cd and ls.
	Root string
	// Sessions are the settings of the sessions. Its OnEnd is called after the shell's own; its
	// Keep, Priority and Size are set by the shell.
	Sessions session.Options[State]

	// Authenticate returns the user of a new connection, before anything is sent. Its error is sent
	// to the client and ends the connection. nil returns a Viewer named by the client's address.
	Authenticate func(ctx context.Context, conn *transport.Conn) (User, error)
	// Token returns the user for a token given to the command auth. nil refuses all tokens.
	Token func(ctx context.Context, conn *transport.Conn, token string) (User, error)
	// Audit is called after each command with Changes, in the goroutine of the command. nil is
	// none.
	Audit func(AuditEntry)

	// Version is the answer of the command version. "" is "unknown".
	Version string
	// MaxLine is the longest request in bytes. 0 is 8 KiB; values below 64 are refused. A longer
	// request is answered with an error, and the connection ends.
	MaxLine int
	// History is the number of requests that a session remembers, up to 16 KiB of them. 0 is 200;
	// negative is none.
	History int
	// Variables is the largest number of variables of a session, with names of up to 64 bytes and
	// values of up to 4 KiB, 16 KiB together. 0 is 100; negative is none.
	Variables int
	// MaxGuests limits the connections of clients with the role [Guest], so that they cannot take
	// all connections of a listener from others. 0 is 128; transport.NoLimit, or any other negative
	// value, is no limit.
	MaxGuests int
	// GuestTimeout ends the connection of a client that is still a [Guest] after that time. 0 is
	// 1 minute; transport.NoTimeout, or any other negative value, is no limit.
	GuestTimeout time.Duration
	// HalfCloseTimeout is how long a connection stays open for pending answers after the client has
	// closed its sending side. 0 is 5 s; negative closes it at once.
	HalfCloseTimeout time.Duration
	// ReadTimeout ends a connection without a request for that long, unless a command is running.
	// 0 is 30 minutes; transport.NoTimeout, or any other negative value, is no limit.
	ReadTimeout time.Duration
	// Queue limits the output waiting for the client; at the limit the connection ends, so its
	// Overflow must be protocol.CloseSlow. Commands block in Write at 8 KiB; answers do not.
	Queue protocol.QueueOptions
}

// validate returns all faults.
func (o Options) validate() error {
	var f option.Faults
	if o.MaxLine < 0 || o.MaxLine > 0 && o.MaxLine < 64 || o.MaxLine > 1<<30 {
		f.Bad("MaxLine", o.MaxLine, "numbers from 64 to 1073741824, and 0 for 8192")
	}
	if strings.ContainsAny(o.Version, "\r\n") {
		f.Bad("Version", fmt.Sprintf("%q", o.Version), "texts of one line")
	}
	if o.Queue.Overflow != "" && o.Queue.Overflow != protocol.CloseSlow {
		f.Bad("Queue.Overflow", o.Queue.Overflow, "CloseSlow only")
	}
	seen := map[string]bool{}
	for i, p := range o.Programs {
		p.validate(&f, fmt.Sprintf("Programs[%d].", i))
		if seen[p.Name] {
			f.Bad(fmt.Sprintf("Programs[%d].Name", i), fmt.Sprintf("%q", p.Name), "names not used by another program")
		}
		seen[p.Name] = true
	}
	if len(o.Programs) > 0 && !canExec {
		f.Bad("Programs", fmt.Sprintf("(%d of them)", len(o.Programs)), "none on this system")
	}
	if (o.Sessions.Marshal == nil) != (o.Sessions.Unmarshal == nil) {
		f.Bad("Sessions.Marshal, Unmarshal", "(only one set)", "both or neither")
	}
	f.Add(protocol.Options{Queue: o.Queue}.Validate())
	return f.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxLine, 8<<10)
	option.Default(&o.History, 200)
	option.Default(&o.Variables, 100)
	option.Default(&o.MaxGuests, 128)
	option.Default(&o.GuestTimeout, time.Minute)
	option.Default(&o.HalfCloseTimeout, 5*time.Second)
	option.Default(&o.ReadTimeout, 30*time.Minute)
	option.Default(&o.Version, "unknown")
	o.History, o.Variables, o.ReadTimeout = max(o.History, 0), max(o.Variables, 0), max(o.ReadTimeout, 0)
	if o.Authenticate == nil {
		o.Authenticate = func(_ context.Context, conn *transport.Conn) (User, error) {
			return User{Name: hostOf(conn.RemoteAddr()), Role: Viewer}, nil
		}
	}
	return o
}

func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}
