package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"goranch/internal/settings"
	"goranch/protocol/relay"
	"goranch/transport"
)

// relayConfig configures the service of a relay.
type relayConfig struct {
	Upstreams   []relay.Upstream
	TLS         bool           // to the upstreams
	Name        string         // for TLS; "" is the host of the address
	CAs         *x509.CertPool // for TLS; nil is those of the system
	Header      int            // version; 0 is none
	DialTimeout time.Duration
	Attempts    int
	Passive     relay.Passive
	Check       relay.Check
	DrainIdle   time.Duration
}

func (f *flags) relayConfig(all *faults) relayConfig {
	c := relayConfig{
		Name:        f.UpstreamName,
		CAs:         f.upstreamCAs(all),
		Header:      read(all, "--upstream-header", f.UpstreamHeader, oneOf("none, v1 and v2", map[string]int{"none": 0, "v1": 1, "v2": 2})),
		DialTimeout: read(all, "--dial-timeout", f.DialTimeout, finite),
		Attempts:    read(all, "--dial-attempts", f.DialAttempts, number(1, math.MaxInt32)),
		Passive: relay.Passive{
			MaxFailures: read(all, "--max-failures", f.MaxFailures, maxSessions),
			Window:      read(all, "--failure-window", f.FailureWindow, finite),
			BackOff:     read(all, "--failure-back-off", f.FailureBackOff, finite),
		},
		Check: relay.Check{
			Interval: infinityAsZero(read(all, "--health-interval", f.HealthInterval, interval)),
			Timeout:  read(all, "--health-timeout", f.HealthTimeout, finite),
			Fall:     read(all, "--health-fall", f.HealthFall, number(1, math.MaxInt32)),
			Rise:     read(all, "--health-rise", f.HealthRise, number(1, math.MaxInt32)),
		},
		DrainIdle: orNoTimeout(read(all, "--drain-idle", f.DrainIdle, positive)),
	}
	c.readUpstreams(all, f.Upstream)
	return c
}

// finite reads a duration that is not infinity.
func finite(s string) (time.Duration, error) {
	if d, err := positive(s); err == nil && d != infinity {
		return d, nil
	}
	return 0, errors.New("allowed are durations such as 500ms, 5s or 2m")
}

// interval reads the time between two checks, for which package relay has a minimum.
func interval(s string) (time.Duration, error) {
	if d, err := positive(s); err == nil && d >= 10*time.Millisecond {
		return d, nil
	}
	return 0, errors.New("allowed are durations such as 500ms, 5s or 2m, from 10ms, and infinity")
}

// upstreamCAs reads the CA certificates of upstreams.
func (f *flags) upstreamCAs(all *faults) *x509.CertPool {
	checkOneFile(all, "--upstream-ca", f.UpstreamCA)
	var pool *x509.CertPool
	for _, file := range f.UpstreamCA {
		pem, err := os.ReadFile(file)
		if err != nil {
			all.add("--upstream-ca %s: %w", settings.Quote(file), err)
			continue
		}
		if pool == nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			all.add("--upstream-ca %s: the file contains no certificate in PEM", settings.Quote(file))
		}
	}
	return pool
}

// readUpstreams reads the values of --upstream.
func (c *relayConfig) readUpstreams(all *faults, values []string) {
	plain, secure := "", ""
	for _, v := range values {
		before := all.count()
		u := read(all, "--upstream", v, parseUpstream)
		switch {
		case all.count() > before:
			continue
		case slices.ContainsFunc(c.Upstreams, func(o relay.Upstream) bool { return o.Addr == u.Addr }):
			all.add("--upstream %s: another upstream has the same address", settings.Quote(v))
			continue
		case u.TLS:
			secure = v
		default:
			plain = v
		}
		c.Upstreams = append(c.Upstreams, u.Upstream)
	}
	c.TLS = secure != ""
	if plain != "" && secure != "" {
		all.add("--upstream %s: allowed are addresses with TLS for all upstreams, as in --upstream %s, or for none", settings.Quote(plain), settings.Quote(secure))
	}
}

// parsedUpstream is a value of --upstream.
type parsedUpstream struct {
	relay.Upstream
	TLS bool
}

const upstreamForms = "allowed are addresses to connect to, such as 10.0.0.1:443, tls://host:443 and unix:/path, and after them weight=N, 1 to 1000, and max=N"

// parseUpstream reads "ADDRESS [weight=N] [max=N]".
func parseUpstream(s string) (u parsedUpstream, err error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return u, errors.New(upstreamForms)
	}
	e, err := parseEndpoint(words[0])
	if err != nil {
		return u, err
	}
	ip, isIP := e.host()
	if e.Name != "" || e.Service != echoService || e.Addr.Inherited() || e.anyPort() || isIP && ip.IsUnspecified() {
		return u, errors.New(upstreamForms)
	}
	u = parsedUpstream{Upstream: relay.Upstream{Addr: e.Addr.String()}, TLS: e.TLS}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case key == "weight" && u.Weight == 0:
			u.Weight, err = number(1, 1000)(value)
		case key == "max" && u.MaxConnections == 0:
			u.MaxConnections, err = number(1, math.MaxInt32)(value)
		default:
			err = errors.New(upstreamForms)
		}
		if err != nil {
			return u, fmt.Errorf("%q: %w", w, err)
		}
	}
	return u, nil
}

// checkRelay reports what a relay listener with its routes needs.
func (l *listenerConfig) checkRelay(all *faults) {
	if len(l.scope.Upstream) == 0 && len(l.scope.routes) == 0 {
		text := fmt.Sprintf("--upstream is missing: relay listeners such as %s have one or more", l.endpoint)
		if l.scope.table == nil {
			all.add("%s", text)
		} else {
			all.put(all.at(*l.scope.table, "upstream is missing: listeners of protocol relay have one or more"))
		}
	}
	c := &l.Relay
	l.checkUpstreams(all, c)
	secure := c.TLS || slices.ContainsFunc(l.Routes, func(r routeConfig) bool { return r.Relay.TLS })
	if !secure && c.CAs != nil {
		all.add("--upstream-ca %s: allowed only with upstreams with TLS", settings.Quote(l.scope.UpstreamCA[0]))
	}
	if !secure && c.Name != "" {
		all.add("--upstream-name %s: allowed only with upstreams with TLS", settings.Quote(c.Name))
	}
}

// checkUpstreams reports an upstream that is the listener itself, and what package relay refuses.
func (l *listenerConfig) checkUpstreams(all *faults, c *relayConfig) {
	for _, u := range c.Upstreams {
		if u.Addr == l.Addr.String() && !l.anyPort() {
			all.add("--upstream %s: it is the address of the listener itself, %s", settings.Quote(u.Addr), l.endpoint)
		}
	}
	isUnix := func(u relay.Upstream) bool { return strings.HasPrefix(u.Addr, "unix:") }
	if i := slices.IndexFunc(c.Upstreams, isUnix); c.TLS && c.Name == "" && i >= 0 {
		all.add("--upstream %s: --upstream-name is missing: a Unix socket has no host name", settings.Quote(c.Upstreams[i].Addr))
	}
	if len(c.Upstreams) > 0 {
		if err := c.options(l.TCP).Validate(); err != nil {
			all.add("--upstream: %w", err)
		}
	}
}

// options returns the options of the relay. Upstreams have the socket options of the clients.
func (c *relayConfig) options(clients transport.TCP) relay.Options {
	tcp := transport.TCP{SendTimeout: clients.SendTimeout, KeepAlive: clients.KeepAlive}
	var t transport.Transport = tcp
	if c.TLS {
		t = transport.TLS{TCP: tcp, Config: &tls.Config{RootCAs: c.CAs, ServerName: c.Name}}
	}
	return relay.Options{
		Upstreams: c.Upstreams, Transport: t, DialTimeout: c.DialTimeout, Attempts: c.Attempts, ProxyHeader: c.Header,
		Passive: c.Passive, Check: c.Check, DrainIdle: c.DrainIdle,
	}
}
