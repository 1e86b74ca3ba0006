package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// Defaults of [Options].
const (
	DefaultMaxLine     = 8 << 10
	DefaultHistory     = 200
	DefaultVariables   = 100
	DefaultEndTime     = 5 * time.Second
	DefaultReadTimeout = 30 * time.Minute
)

// Options are the settings of a [Shell]. The zero value of each field is its default.
type Options struct {
	// Commands are there from the beginning, beside the built-in ones. [Shell.Registry] takes more.
	Commands []Command
	// Programs may be run, by their names as commands. nil is none.
	Programs []Program
	// Root is the directory in which sessions can look around with cd and ls, and programs begin. Nothing
	// outside can be reached by these, also not by symbolic links. "" is none: then they are refused.
	Root string
	// Sessions are the settings of sessions. Its OnEnd is called as well, if it is set.
	Sessions session.Options[State]

	// Authenticate says who has connected. It is asked before anything is sent; its error ends the connection, and
	// its text goes to the client. nil is a Viewer by the name of the client's address.
	Authenticate func(ctx context.Context, conn *transport.Conn) (User, error)
	// Token says who has given a token by the command auth. nil is nobody.
	Token func(ctx context.Context, conn *transport.Conn, token string) (User, error)
	// Audit is called after each command that has Changes, in its goroutine. nil is nobody.
	Audit func(AuditEntry)

	// Version is what the command version answers. "" is "unknown".
	Version string
	// MaxLine is the longest request in bytes. 0 is 8 KiB; negative values and those below 64 are refused. Who sends a longer
	// one is told, and the connection ends.
	MaxLine int
	// History is how many requests a session remembers. 0 is 200; negative is none.
	History int
	// Variables is how many variables a session may have, of 64 bytes of name and 4 KiB of value at most.
	// 0 is 100; negative is none.
	Variables int
	// EndTime is how long a connection, whose client has ended what it has to say, stays for the answers to what
	// it has asked. 0 is 5 s; negative is no time.
	EndTime time.Duration
	// ReadTimeout ends a connection on which no request has come for so long, unless one is being run.
	// 0 is 30 min; negative is no limit.
	ReadTimeout time.Duration
	// Queue is how much may wait that the client does not take; when that is exceeded, the connection ends, so its
	// Overflow can only be protocol.CloseSlow. Commands that write are held back at 64 KiB; answers are not.
	Queue protocol.QueueOptions
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option %s %v: allowed %s", field, value, allowed))
	}
	if o.MaxLine < 0 || o.MaxLine > 0 && o.MaxLine < 64 || o.MaxLine > 1<<30 {
		bad("MaxLine", o.MaxLine, "are numbers from 64 to 1073741824, and 0 for 8192")
	}
	if strings.ContainsAny(o.Version, "\r\n") {
		bad("Version", fmt.Sprintf("%q", o.Version), "is one line")
	}
	if o.Queue.Overflow != protocol.CloseSlow {
		bad("Queue.Overflow", o.Queue.Overflow, "is CloseSlow")
	}
	seen := map[string]bool{}
	for i, p := range o.Programs {
		if err := p.validate(); err != nil {
			faults = append(faults, fmt.Errorf("option Programs[%d]: %w", i, err))
		}
		if seen[p.Name] {
			bad("Programs", p.Name, "is each name once")
		}
		seen[p.Name] = true
	}
	if len(o.Programs) > 0 && !canExec {
		bad("Programs", len(o.Programs), "are none on this system")
	}
	if err := o.Sessions.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("option Sessions: %w", err))
	}
	return errors.Join(append(faults, o.Queue.Validate())...)
}

func (o Options) withDefaults() Options {
	def(&o.MaxLine, DefaultMaxLine)
	def(&o.History, DefaultHistory)
	def(&o.Variables, DefaultVariables)
	def(&o.EndTime, DefaultEndTime)
	def(&o.ReadTimeout, DefaultReadTimeout)
	def(&o.Version, "unknown")
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

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
