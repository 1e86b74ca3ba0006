package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/certs"
)

// infinity is the time that never passes; each user translates it to its own word.
const infinity = ranch.Infinity

// topicsConnections is the cap of topics, unless somebody has said otherwise: most of its clients only listen.
const topicsConnections = 20_000

// config is what the flags say, read and checked.
type config struct {
	Endpoints []endpoint
	Store     *certs.Store // nil: make a certificate
	Reloaded  func(error)  // called when the store's files have changed; set before its Run
	TLSMin    uint16
	Options   ranch.Options // but for Addr and Logger
	TCP       transport.TCP // but for Network
	Proxies   proxies
	Drain     time.Duration // infinity is no limit
	LogLevel  slog.Level
	LogFormat logFormat
	Access    shellAccess // of both shells
	Shell     shellConfig
	Sessions  sessionConfig
	Web       webAccess
	Flags     shell.Fields // as they were given, for operators
	AnyCap    bool         // nobody has said how many connections
	Console   bool
	Quiet     bool
	Check     bool
}

// faults collects what is wrong with flags.
type faults []error

// read parses one flag's value, and notes what is wrong with it.
func read[T any](all *faults, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	if err != nil {
		*all = append(*all, fmt.Errorf("%s %q: %w", flag, value, err))
	}
	return v
}

// config reads and checks every flag. The error joins all faults; each names the flag,
// its value and what is allowed.
func (f *flags) config() (*config, error) {
	var bad faults
	c := &config{Quiet: f.Quiet, Check: f.Check, Console: f.Console, AnyCap: f.MaxConnections == "", Flags: f.shown()}
	c.Endpoints = f.endpoints(&bad)
	usesTLS := anyTLS(c.Endpoints) || len(bad) > 0 // one that could not be read may be meant to
	c.TLSMin = read(&bad, "--tls-min", f.TLSMin, oneOf("1.2 and 1.3",
		map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}))
	c.Options = ranch.Options{
		MaxConnections:   read(&bad, "--max-connections", cmp.Or(f.MaxConnections, "1024"), orUnlimited),
		NumAcceptors:     read(&bad, "--acceptors", f.Acceptors, orDefault(number(1, maxAcceptors))),
		NumListenSockets: read(&bad, "--listen-sockets", f.ListenSockets, number(1, maxAcceptors)),
		HandshakeTimeout: never(read(&bad, "--handshake-timeout", f.HandshakeTimeout, positive)),
		RefuseAfter:      read(&bad, "--refuse-after", f.RefuseAfter, refuseAfter),
		Limits: conns.Limits{
			AcceptRate:     read(&bad, "--accept-rate", f.AcceptRate, rate),
			MaxHandshakes:  read(&bad, "--max-handshakes", f.MaxHandshakes, orNoLimit),
			PerAddress:     read(&bad, "--max-per-address", f.MaxPerAddress, orNoLimit),
			AddressRate:    read(&bad, "--address-rate", f.AddressRate, rate),
			IdleTimeout:    zero(read(&bad, "--idle-timeout", f.IdleTimeout, positive)),
			Lifetime:       zero(read(&bad, "--lifetime", f.Lifetime, positive)),
			LifetimeJitter: 0.1,
		},
		Alarms: alarms(read(&bad, "--alarm-descriptors", f.AlarmShare, share)),
	}
	c.TCP = transport.TCP{
		Backlog:     read(&bad, "--backlog", f.Backlog, number(0, math.MaxInt32)),
		SendTimeout: never(read(&bad, "--send-timeout", f.SendTimeout, positive)),
		UnixMode:    read(&bad, "--unix-mode", f.UnixMode, fileMode),
	}
	c.Proxies = read(&bad, "--proxy-from", f.ProxyFrom, parseProxies)
	c.Drain = read(&bad, "--shutdown-timeout", f.ShutdownTimeout, notNegative)
	c.LogLevel = read(&bad, "--log-level", f.LogLevel, oneOf("debug, info, warn and error",
		map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}))
	c.LogFormat = read(&bad, "--log-format", f.LogFormat, oneOf("auto, text, color and json",
		map[string]logFormat{"auto": logAuto, "text": logText, "color": logColor, "json": logJSON}))
	c.Store = f.store(&bad, usesTLS, func(err error) { c.Reloaded(err) })
	c.Access, c.Shell, c.Sessions = f.access(&bad), f.shell(&bad), f.sessions(&bad)
	c.Web = f.webAccess(&bad)
	if e, ok := f.admin(&bad); ok {
		c.Endpoints = append(c.Endpoints, e)
	}
	c.exposed(&bad)
	c.guessable(&bad, f.AcceptGuessableIDs)
	c.together(&bad)
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return c, c.checkListeners()
}

// endpoints reads every --listen, names them, and compares them with each other.
func (f *flags) endpoints(bad *faults) []endpoint {
	given := defaultListen
	if f.Listen != nil {
		given = nil
		for _, v := range f.Listen {
			if words := strings.Fields(v); len(words) > 0 {
				given = append(given, words...)
			} else {
				*bad = append(*bad, fmt.Errorf("--listen %q: it is empty: %s", v, listenForms))
			}
		}
	}
	var all []endpoint
	names, places := make(map[string]string), make(map[transport.Addr]string)
	for _, v := range given {
		before := len(*bad)
		e := read(bad, "--listen", v, parseEndpoint)
		if len(*bad) > before {
			continue
		}
		if first, taken := names[e.Name]; taken && e.Name != "" {
			*bad = append(*bad, fmt.Errorf("--listen %q: the name %s is taken by %q: names must differ", v, e.Name, first))
		}
		// Several sockets of systemd's may have one name.
		if first, taken := places[e.Addr]; taken && !e.anyPort() && e.Addr.Network != "systemd" {
			*bad = append(*bad, fmt.Errorf("--listen %q: %q listens there already: addresses must differ", v, first))
		}
		names[e.Name], places[e.Addr] = v, v
		all = append(all, e)
	}
	nameAll(all)
	return all
}

// together checks what is allowed alone but not in company.
func (c *config) together(bad *faults) {
	n, o := c.Options.NumListenSockets, c.Options
	if n > 1 {
		if runtime.GOOS != "linux" {
			*bad = append(*bad, fmt.Errorf("--listen-sockets %d: only Linux spreads connections over sockets; allowed here is 1", n))
		}
		for _, e := range c.Endpoints {
			if e.unix() {
				*bad = append(*bad, fmt.Errorf("--listen-sockets %d: Unix sockets cannot share an address: allowed with --listen %q is 1", n, e))
			}
			if e.Addr.Inherited() {
				*bad = append(*bad, fmt.Errorf("--listen-sockets %d: an inherited socket is one: allowed with --listen %q is 1", n, e))
			}
		}
	}
	if o.NumAcceptors > 0 && o.NumAcceptors < n {
		*bad = append(*bad, fmt.Errorf("--acceptors %d: allowed is at least one for each of --listen-sockets %d", o.NumAcceptors, n))
	}
}

// checkListeners asks the library, which may know of faults that were not thought of here.
func (c *config) checkListeners() error {
	var bad []error
	for _, e := range c.Endpoints {
		if _, err := ranch.NewListener(e.Name, c.transport(e, nil), c.options(e), echo.Protocol{}); err != nil {
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...)
}

// transport returns what carries the connections of an endpoint. cert is for trying out.
func (c *config) transport(e endpoint, cert *tls.Certificate) transport.Transport {
	t := c.TCP
	if ip, ok := e.host(); ok && ip.Is4() {
		t.Network = "tcp4" // for net, 0.0.0.0 would be IPv6 as well
	}
	before := c.Proxies.before
	if e.Service == adminService {
		before = func(t transport.Transport) transport.Transport { return t }
		t.UnixMode = c.Access.unixMode()
	}
	if !e.TLS {
		return before(t)
	}
	tc := &tls.Config{MinVersion: c.TLSMin}
	if c.Store != nil {
		tc = c.Store.Config(tc)
	} else if cert != nil {
		tc.Certificates = []tls.Certificate{*cert}
	}
	return before(transport.TLS{TCP: t, Config: tc})
}

func (c *config) options(e endpoint) ranch.Options {
	o := c.Options
	o.Addr = e.Addr.String()
	if c.AnyCap && e.Service == topicsService {
		o.MaxConnections = topicsConnections
	}
	return o
}

func anyTLS(all []endpoint) bool {
	for _, e := range all {
		if e.TLS {
			return true
		}
	}
	return false
}
