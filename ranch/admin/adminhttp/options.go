package adminhttp

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"goranch/internal/option"
	"goranch/internal/remoteip"
	"goranch/internal/weborigin"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch"
	"goranch/transport"
)

// Options are the settings of a [Handler]. The zero value of each field is its default.
type Options struct {
	// Server has the listeners. nil is ranch.Default.
	Server *ranch.Server
	// Commands are served as JSON, usually those of admin.Commands. Their names must differ. nil is
	// none.
	Commands []shell.Command
	// Metrics serves /metrics for viewers. nil answers with status 404.
	Metrics http.Handler
	// Checks are conditions of /readyz by name, in addition to the states of the listeners. They
	// are called for each probe and should return quickly. nil is none.
	Checks map[string]func(context.Context) error

	// Authenticate returns the user of a new connection, as for a shell. It is called once for each
	// connection; after an error all its requests are refused. nil admits a client of the same
	// machine as a Viewer, and another as a Guest, who can only use the probes, a token or a
	// ticket.
	Authenticate func(ctx context.Context, conn *transport.Conn) (shell.User, error)
	// Token returns the user for the token of a request, as for a shell. Its error refuses the
	// request; one that does not wrap access.ErrDenied asks the client to wait. nil refuses all
	// tokens.
	Token func(ctx context.Context, conn *transport.Conn, token string) (shell.User, error)
	// Audit is called after each command with Changes, as for a shell. nil is none.
	Audit func(shell.AuditEntry)
	// Hosts lists the hosts, with port unless it is the default one, by which requests may name the
	// server, and whose pages may use it; entries may be patterns of path.Match. IP addresses,
	// localhost, and over TLS the server name of the handshake are always allowed. nil is none
	// more.
	Hosts []string

	// MaxBody limits the body of a request, in bytes. 0 is 64 KiB; negative values are refused.
	MaxBody int
	// MaxOutput limits the output of a command that is not streamed, in bytes; at the limit the
	// command is cancelled. 0 is 1 MiB; negative values are refused.
	MaxOutput int
	// MaxStreams limits the event streams; more are answered with status 503. One client may have a
	// quarter of them: a user with a token, certificate or Unix account, otherwise a source
	// address. 0 is 64; negative values are refused.
	MaxStreams int
	// MaxBuffered limits the events that wait for one stream, in bytes. A stream that reads too
	// slowly loses events beyond it, and is notified of their number. 0 is 64 KiB; negative values
	// are refused.
	MaxBuffered int
	// Interval is the time between two events with the state of the listeners. 0 is 1 s; negative
	// values are refused.
	Interval time.Duration
	// LoginTime is the time after which a browser that has logged in with a ticket must do so
	// again. 0 is 12 h; negative values are refused.
	LoginTime time.Duration

	// Version is shown by the dashboard. "" is "unknown".
	Version string
	// Logger logs panics of commands at error, and faults of HTTP connections at debug. nil is
	// slog.Default() at the time of New.
	Logger *slog.Logger
	// NoPage disables the dashboard.
	NoPage bool
}

// commandName is the form of names that a path can contain.
var commandName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (o *Options) validate() error {
	var f option.Faults
	f.NotNegative("MaxBody", o.MaxBody, "0 for 65536")
	f.NotNegative("MaxOutput", o.MaxOutput, "0 for 1048576")
	f.NotNegative("MaxStreams", o.MaxStreams, "0 for 64")
	f.NotNegative("MaxBuffered", o.MaxBuffered, "0 for 65536")
	f.Positive("Interval", o.Interval, "0 for 1s")
	f.Positive("LoginTime", o.LoginTime, "0 for 12h")
	for _, p := range o.Hosts {
		if !weborigin.IsPattern(p) || p == "" {
			f.Bad("Hosts", fmt.Sprintf("%q", p), "hosts without a scheme, and patterns of path.Match")
		}
	}
	names := map[string]bool{}
	for _, c := range o.Commands {
		if !commandName.MatchString(c.Name) || c.Run == nil || names[c.Name] {
			f.Bad("Commands", fmt.Sprintf("%q", c.Name), "commands with a Run, and a name of their own of letters, digits, \"-\", \"_\" and \".\"")
		}
		names[c.Name] = true
	}
	for name, check := range o.Checks {
		if check == nil {
			f.Bad("Checks", fmt.Sprintf("%q: nil", name), "functions")
		}
	}
	return f.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxBody, 64<<10)
	option.Default(&o.MaxOutput, 1<<20)
	option.Default(&o.MaxStreams, 64)
	option.Default(&o.MaxBuffered, 64<<10)
	option.Default(&o.Interval, time.Second)
	option.Default(&o.LoginTime, 12*time.Hour)
	option.Default(&o.Version, "unknown")
	if o.Server == nil {
		o.Server = ranch.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Authenticate == nil {
		o.Authenticate = localViewer
	}
	if o.Audit == nil {
		o.Audit = func(shell.AuditEntry) {}
	}
	return o
}

func (h *Handler) errorLog() *log.Logger {
	return slog.NewLogLogger(h.opts.Logger.Handler(), slog.LevelDebug)
}

// localViewer is the default of Options.Authenticate. A client behind a PROXY header can be on
// another machine even if the proxy is not.
func localViewer(ctx context.Context, conn *transport.Conn) (shell.User, error) {
	role := shell.Guest
	if ip := remoteip.Of(conn.LocalAddr()); conn.Proxy() == nil && (!ip.IsValid() || ip.IsLoopback()) {
		role = shell.Viewer
	}
	return access.Anyone(role)(ctx, conn)
}
