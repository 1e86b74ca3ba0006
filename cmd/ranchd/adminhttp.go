package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/ranch/metrics"
	"goranch/transport"
	"goranch/transport/certs"
)

// adminHTTPFlags are the flags of the operators' HTTP server.
type adminHTTPFlags struct {
	AdminHTTP     string   `name:"admin-http" change:"listener" placeholder:"ADDRESS" default:"auto" help:"Address of the operators' HTTP server with the dashboard, probes and events: an address without a protocol; none; or auto, which is 127.0.0.1:8084. Local clients without credentials are viewers; commands that change something require a token, a client certificate or a Unix socket. Default: ${default}."`
	AdminHTTPHost []string `name:"admin-http-host" kind:"list" on:"admin-http" change:"restart" example:"[\"ops.example.org\"]" sep:"," placeholder:"HOST" help:"Values of the Host header that the operators' HTTP server accepts, in addition to IP addresses, localhost, and with TLS the names in the certificate: names or patterns such as *.example.org."`
}

// defaultAdminHTTP is the address for "auto".
const defaultAdminHTTP = "127.0.0.1:8084"

// adminHTTPHosts reads --admin-http-host.
func (f *flags) adminHTTPHosts(all *faults) []string {
	checkHostPatterns(all, "--admin-http-host", f.AdminHTTPHost)
	return f.AdminHTTPHost
}

// isOperators reports whether only operators connect to the endpoint.
func (s service) isOperators() bool { return s == adminService || s == adminHTTPService }

// adminHTTPAuth returns the authentication of connections to the operators' HTTP server. A client
// that neither the kernel nor a certificate identifies is a viewer if it is on this machine, and
// otherwise a guest, who needs a token or a ticket.
func (a shellAccess) adminHTTPAuth() access.Authenticator {
	viewer, guest := access.Anyone(shell.Viewer), access.Anyone(shell.Guest)
	return a.or(func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		if conn.Proxy() == nil && isLocal(conn.LocalAddr()) {
			return viewer(ctx, conn)
		}
		return guest(ctx, conn)
	})
}

// newAdminHTTP creates an operators' HTTP server.
func (d *daemon) newAdminHTTP(s *runningService, l *listenerConfig) error {
	s.access.Store(&l.Access)
	h, err := adminhttp.New(adminhttp.Options{
		Server: &d.server, Commands: d.operatorCommands(), Version: version(), Logger: d.log,
		Authenticate: s.authenticate(shellAccess.adminHTTPAuth), Token: s.token, Audit: admin.Audit(d.log), Hosts: l.HTTPHosts,
		Metrics: d.metrics(), Checks: d.checks(),
	})
	if err != nil {
		return err
	}
	s.protocol, s.http, s.closers = h, h, append(s.closers, h.Close)
	return nil
}

// metrics returns the handler of the metrics.
func (d *daemon) metrics() http.Handler {
	o := metrics.Options{
		Version: version(), Runtime: true, Reload: d.lastReload, Relays: d.relays,
		Topics: func() map[string]pubsub.Stats {
			all := map[string]pubsub.Stats{}
			for _, s := range d.allServices() {
				if s.topics != nil {
					all[s.key.String()] = s.topics.Stats()
				}
			}
			return all
		},
		Sessions: func() map[string]session.Stats {
			all := map[string]session.Stats{}
			for _, s := range d.allServices() {
				if s.sessions != nil {
					all[s.key.String()] = s.sessions.Stats()
				}
			}
			return all
		},
		Certificates: func() (all []certs.Certificate) {
			for _, s := range d.config().files.stores {
				all = append(all, s.Certificates()...)
			}
			return all
		},
	}
	if cl := d.cluster; cl != nil {
		o.Cluster = cl.metrics
	}
	return metrics.Handler(&d.server, o)
}

// Lifetimes of tickets. That of the banner may be used some time after the start.
const (
	bannerTicketTime  = time.Hour
	commandTicketTime = 5 * time.Minute
)

// dashboardAt is where a dashboard is served, and the server that issues tickets for it.
type dashboardAt struct {
	isTLS   bool
	addr    net.Addr
	handler *adminhttp.Handler
}

// url returns the address of the dashboard, with a ticket for user if its time is not 0.
func (at *dashboardAt) url(user shell.User, valid time.Duration) string {
	scheme := "http"
	if at.isTLS {
		scheme = "https"
	}
	host, port := dialAddr(at.addr)
	url := scheme + "://" + net.JoinHostPort(host, port) + "/"
	if valid > 0 {
		url += "#ticket=" + at.handler.Ticket(user, valid)
	}
	return url
}

// findDashboard finds the first dashboard that is served over TCP. d.changing is held.
func (d *daemon) findDashboard() {
	for _, r := range d.running {
		if _, isTCP := r.l.Addr().(*net.TCPAddr); isTCP && r.config.Service == adminHTTPService {
			d.dashboardAt.Store(&dashboardAt{r.config.TLS, r.l.Addr(), r.service().http})
			return
		}
	}
	d.dashboardAt.Store(nil)
}

// tryAdminHTTP returns what the banner shows about the operators' HTTP server. On a terminal the
// link logs an operator in: who reads the terminal of ranchd can stop it too, and the ticket in the
// link is worthless after its first use or an hour, so scrollback, a log of the terminal or the
// history of the browser do not reveal a secret. Where standard output may be a file, the link is
// without one.
func (d *daemon) tryAdminHTTP(r *running, a net.Addr) string {
	if _, ok := a.(*net.UnixAddr); ok {
		return "curl --unix-socket " + quote(a.String()) + " http://localhost/status"
	}
	at := &dashboardAt{r.config.TLS, a, r.service().http}
	if !d.config().Terminal {
		return "open in a browser: " + at.url(shell.User{}, 0)
	}
	return "open in a browser, once, as an operator: " + at.url(shell.User{Name: "banner", Role: shell.Operator}, bannerTicketTime)
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
				return errors.New("the operators' HTTP server has no TCP address; set it with ranchd --admin-http")
			}
			c.Return(at.url(c.User, commandTicketTime))
			return nil
		},
	}
}

// topicsCommand returns the command topics, which shows the counters of the topic servers.
func (d *daemon) topicsCommand() shell.Command {
	return shell.Command{
		Name: "topics", Role: shell.Viewer, Help: "Show the counters of the topic servers.",
		Run: func(_ context.Context, c *shell.Call) error {
			t := shell.Table{Columns: []shell.Column{
				{Key: "service", Title: "SERVICE"},
				{Key: "clients", Title: "CLIENTS", Right: true}, {Key: "topics", Title: "TOPICS", Right: true},
				{Key: "published", Title: "PUBLISHED", Right: true}, {Key: "delivered", Title: "DELIVERED", Right: true},
				{Key: "dropped", Title: "DROPPED", Right: true}, {Key: "refused", Title: "REFUSED", Right: true},
				{Key: "slow", Title: "SLOW", Right: true}, {Key: "silent", Title: "SILENT", Right: true},
				{Key: "attached", Title: "ATTACHED", Right: true}, {Key: "detached", Title: "DETACHED", Right: true},
			}}
			for _, service := range d.allServices() {
				if service.topics == nil {
					continue
				}
				s := service.topics.Stats()
				t.Rows = append(t.Rows, []any{service.key.String(), s.Clients, s.Topics, s.Published, s.Delivered, s.Dropped, s.Refused, s.Slow, s.Silent,
					s.Sessions.Attached, s.Sessions.Detached})
			}
			c.Return(t)
			return nil
		},
	}
}
