package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/ranch/metrics"
	"goranch/transport"
)

// adminHTTPFlags are the flags of the operators' HTTP server.
type adminHTTPFlags struct {
	AdminHTTP     string   `name:"admin-http" placeholder:"ADDRESS" default:"auto" help:"Address of the operators' HTTP server with the dashboard, probes and events: an address without a protocol, none, or auto, 127.0.0.1:8084. Local clients without credentials are viewers there; commands that change something need a token, a client certificate, or a Unix socket. Default: ${default}."`
	AdminHTTPHost []string `name:"admin-http-host" sep:"," placeholder:"HOST,..." help:"Hosts that requests to the operators' HTTP server may name in addition to IP addresses, localhost, and over TLS the name in the certificate: names or patterns such as *.example.org."`
}

// defaultAdminHTTP is the address for "auto".
const defaultAdminHTTP = "127.0.0.1:8084"

// adminHTTPEndpoint returns the endpoint of the operators' HTTP server. ok is false if there is none.
func (f *flags) adminHTTPEndpoint(all *faults) (e endpoint, ok bool) {
	address, isDefault := f.AdminHTTP, false
	switch address {
	case "none":
		return endpoint{}, false
	case "auto":
		address, isDefault = defaultAdminHTTP, true
	}
	e = read(all, "--admin-http", address, parseEndpoint)
	if e.Service != echoService {
		all.add("--admin-http %q: allowed are addresses without a protocol", address)
	}
	e.Service, e.Default = adminHTTPService, isDefault
	if e.Name == "" {
		e.Name = "admin-http"
	}
	return e, true
}

// adminHTTPHosts reads --admin-http-host.
func (f *flags) adminHTTPHosts(all *faults) []string {
	checkHostPatterns(all, "--admin-http-host", f.AdminHTTPHost)
	return f.AdminHTTPHost
}

// isOperators reports whether only operators connect to the endpoint.
func (s service) isOperators() bool { return s == adminService || s == adminHTTPService }

// adminHTTPAuth returns the authentication of connections to the operators' HTTP server. A client that
// neither the kernel nor a certificate identifies is a viewer if it is on this machine, and otherwise a
// guest, who needs a token or a ticket.
func (a shellAccess) adminHTTPAuth() access.Authenticator {
	viewer, guest := access.Anyone(shell.Viewer), access.Anyone(shell.Guest)
	return a.or(func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		if conn.Proxy() == nil && isLocal(conn.LocalAddr()) {
			return viewer(ctx, conn)
		}
		return guest(ctx, conn)
	})
}

// newAdminHTTP returns the operators' HTTP server.
func (d *daemon) newAdminHTTP() (protocol.Protocol, error) {
	h, err := adminhttp.New(adminhttp.Options{
		Server: &d.server, Commands: d.operatorCommands(), Version: version(), Logger: d.log,
		Authenticate: d.Access.adminHTTPAuth(), Token: d.Access.tokenAuth(), Audit: admin.Audit(d.log), Hosts: d.AdminHTTPHosts,
		Metrics: d.metrics(),
	})
	if err != nil {
		return nil, err
	}
	d.services.closers = append(d.services.closers, h.Close)
	d.adminHTTP = h
	return h, nil
}

// metrics returns the handler of the metrics.
func (d *daemon) metrics() http.Handler {
	o := metrics.Options{Version: version(), Runtime: true}
	if d.topics != nil {
		o.Topics = func() map[string]pubsub.Stats { return map[string]pubsub.Stats{"topics": d.topics.Stats()} }
	}
	if d.shell != nil {
		o.Sessions = func() map[string]session.Stats { return map[string]session.Stats{"shell": d.shell.Sessions().Stats()} }
	}
	if d.Store != nil {
		o.Certificates = d.Store.Certificates
	}
	return metrics.Handler(&d.server, o)
}

// Lifetimes of tickets. That of the banner may be used some time after the start.
const (
	bannerTicketTime  = time.Hour
	commandTicketTime = 5 * time.Minute
)

// dashboardAddr is where the dashboard is served.
type dashboardAddr struct {
	isTLS bool
	addr  net.Addr
}

// dashboardURL returns the address of the dashboard on a listener bound to a, with a ticket for user if
// its time is not 0.
func (d *daemon) dashboardURL(isTLS bool, a net.Addr, user shell.User, valid time.Duration) string {
	scheme := "http"
	if isTLS {
		scheme = "https"
	}
	host, port := dialAddr(a)
	url := scheme + "://" + net.JoinHostPort(host, port) + "/"
	if valid > 0 && d.adminHTTP != nil {
		url += "#ticket=" + d.adminHTTP.Ticket(user, valid)
	}
	return url
}

// tryAdminHTTP returns what the banner shows about the operators' HTTP server. On a terminal the link
// logs an operator in: who reads the terminal of ranchd can stop it too, and the ticket in the link is
// worthless after its first use or an hour, so scrollback, a log of the terminal or the history of the
// browser do not reveal a secret. Where standard output may be a file, the link is without one.
func (d *daemon) tryAdminHTTP(e endpoint, a net.Addr) string {
	if _, ok := a.(*net.UnixAddr); ok {
		return "curl --unix-socket " + quote(a.String()) + " http://localhost/status"
	}
	if !d.Terminal {
		return "open in a browser: " + d.dashboardURL(e.TLS, a, shell.User{}, 0)
	}
	return "open in a browser, once, as an operator: " + d.dashboardURL(e.TLS, a, shell.User{Name: "banner", Role: shell.Operator}, bannerTicketTime)
}

// dashboardCommand returns the command dashboard, which shows a link with a ticket for its user.
func (d *daemon) dashboardCommand() shell.Command {
	return shell.Command{
		Name: "dashboard", Role: shell.Viewer, Changes: true,
		Help: "Show a link that opens the dashboard in a browser, with your role.\n\n" +
			"The link works once, within 5 minutes. The login ends after 12 hours.",
		Run: func(_ context.Context, c *shell.Call) error {
			at := d.dashboardAt.Load()
			if at == nil {
				return errors.New("there is no HTTP server for operators with a TCP address; see ranchd --admin-http")
			}
			c.Return(d.dashboardURL(at.isTLS, at.addr, c.User, commandTicketTime))
			return nil
		},
	}
}

// topicsCommand returns the command topics, which shows the counters of the topic server.
func (d *daemon) topicsCommand() shell.Command {
	return shell.Command{
		Name: "topics", Role: shell.Viewer, Help: "Show the counters of the topic server.",
		Run: func(_ context.Context, c *shell.Call) error {
			s := d.topics.Stats()
			c.Return(shell.Table{
				Columns: []shell.Column{
					{Key: "clients", Title: "CLIENTS", Right: true}, {Key: "topics", Title: "TOPICS", Right: true},
					{Key: "published", Title: "PUBLISHED", Right: true}, {Key: "delivered", Title: "DELIVERED", Right: true},
					{Key: "dropped", Title: "DROPPED", Right: true}, {Key: "refused", Title: "REFUSED", Right: true},
					{Key: "slow", Title: "SLOW", Right: true}, {Key: "silent", Title: "SILENT", Right: true},
					{Key: "attached", Title: "ATTACHED", Right: true}, {Key: "detached", Title: "DETACHED", Right: true},
				},
				Rows: [][]any{{s.Clients, s.Topics, s.Published, s.Delivered, s.Dropped, s.Refused, s.Slow, s.Silent, s.Sessions.Attached, s.Sessions.Detached}},
			})
			return nil
		},
	}
}

// startAdminHTTP starts the listener of the operators' HTTP server.
func (d *daemon) startAdminHTTP(e *endpoint, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, error) {
	l, err := d.server.StartListener(e.Name, reserved(d.transport(*e, d.selfSigned), d.reserve), opts, p)
	if err != nil {
		return nil, err
	}
	if _, isTCP := l.Addr().(*net.TCPAddr); isTCP {
		d.dashboardAt.Store(&dashboardAddr{e.TLS, l.Addr()})
	}
	return l, nil
}

// protected returns the names of the listeners of operators.
func (c *config) protected() (names []string) {
	for _, e := range c.Endpoints {
		if e.Service.isOperators() {
			names = append(names, e.Name)
		}
	}
	return slices.Clip(names)
}
