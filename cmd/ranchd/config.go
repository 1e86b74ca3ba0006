package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/listenaddr"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/certs"
)

// topicsConnections is the default cap of topic servers, whose clients are mostly idle.
const topicsConnections = 20_000

// config is the checked configuration.
type config struct {
	Endpoints  []endpoint
	FlagValues shell.Fields // as given, for the command config

	// listeners
	Options    ranch.Options // except Addr and Logger
	DefaultCap bool          // --max-connections is not given
	TCP        transport.TCP // except Network
	Proxies    proxies

	// TLS
	Store    *certs.Store // nil for a self-signed certificate
	OnReload func(error)  // called after the files of the store have changed; set before its Run
	TLSMin   uint16

	Bans *bans

	// services
	Access        shellAccess
	OnTokenReload func(error) // called after the token file has changed; set before the Run of the tokens
	Shell         shellConfig
	Sessions      sessionConfig
	Web           webAccess
	AccessLog     string // a file; "-" is standard output, "" none

	AdminHTTPHosts []string // that requests to the operators' HTTP server may name

	// process
	ShutdownTimeout time.Duration // or infinity
	LogLevel        slog.Level
	LogFormat       logFormat
	Console         bool
	Quiet           bool
	Check           bool
	Terminal        bool // standard output is a terminal; set by run
}

// faults collects the faults of a configuration.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// read parses the value of a flag and collects its fault.
func read[T any](all *faults, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	if err != nil {
		all.add("%s %q: %w", flag, value, err)
	}
	return v
}

// config reads and checks all flags. The error joins all faults; each names the flag, its value and
// what is allowed.
func (f *flags) config() (*config, error) {
	var all faults
	c := &config{Quiet: f.Quiet, Check: f.Check, Console: f.Console, DefaultCap: f.MaxConnections == "", FlagValues: f.values()}
	c.Endpoints = f.endpoints(&all)
	usesTLS := anyTLS(c.Endpoints) || len(all) > 0 // an invalid endpoint may be intended to use TLS
	c.TLSMin = read(&all, "--tls-min", f.TLSMin, oneOf("1.2 and 1.3",
		map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}))
	c.Options = f.options(&all)
	c.TCP = transport.TCP{
		Backlog:     read(&all, "--backlog", f.Backlog, number(0, math.MaxInt32)),
		SendTimeout: orNoTimeout(read(&all, "--send-timeout", f.SendTimeout, positive)),
		UnixMode:    read(&all, "--unix-mode", f.UnixMode, fileMode),
	}
	c.Proxies = read(&all, "--proxy-from", f.ProxyFrom, parseProxies)
	c.ShutdownTimeout = read(&all, "--shutdown-timeout", f.ShutdownTimeout, notNegative)
	c.LogLevel = read(&all, "--log-level", f.LogLevel, oneOf("debug, info, warn and error",
		map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}))
	c.LogFormat = read(&all, "--log-format", f.LogFormat, oneOf("auto, text, color and json",
		map[string]logFormat{"auto": logAuto, "text": logText, "color": logColor, "json": logJSON}))
	interval := orNoTimeout(read(&all, "--reload-interval", f.ReloadInterval, positive))
	c.Store = f.store(&all, usesTLS, interval, func(err error) { c.OnReload(err) })
	c.Access = f.shellAccess(&all, interval, func(err error) { c.OnTokenReload(err) })
	c.Shell, c.Sessions = f.shellConfig(&all), f.sessionConfig(&all)
	c.Web, c.AdminHTTPHosts = f.webAccess(&all), f.adminHTTPHosts(&all)
	c.AccessLog = read(&all, "--access-log", f.AccessLog, accessLogFile)
	if e, ok := f.adminHTTPEndpoint(&all); ok {
		c.Endpoints = append(c.Endpoints, e)
	}
	c.Bans = f.bans(&all, interval)
	if e, ok := f.adminEndpoint(&all); ok {
		c.Endpoints = append(c.Endpoints, e)
	}
	c.checkShellAccess(&all)
	c.checkSessionIDs(&all, f.AllowPredictableIDs)
	c.checkSockets(&all)
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return c, c.checkListeners()
}

// options reads the flags that are options of every listener.
func (f *flags) options(all *faults) ranch.Options {
	return ranch.Options{
		MaxConnections:   read(all, "--max-connections", cmp.Or(f.MaxConnections, "1024"), orUnlimited),
		NumAcceptors:     read(all, "--acceptors", f.Acceptors, orDefault(number(1, maxAcceptors))),
		NumListenSockets: read(all, "--listen-sockets", f.ListenSockets, number(1, maxAcceptors)),
		HandshakeTimeout: orNoTimeout(read(all, "--handshake-timeout", f.HandshakeTimeout, positive)),
		RefuseAfter:      read(all, "--refuse-after", f.RefuseAfter, refuseAfter),
		DrainDelay:       read(all, "--drain-delay", f.DrainDelay, pace),
		DrainSpread:      read(all, "--drain-spread", f.DrainSpread, pace),
		Limits: conns.Limits{
			PerAddress:     read(all, "--max-per-address", f.MaxPerAddress, orZero),
			AddressRate:    read(all, "--address-rate", f.AddressRate, rate),
			AcceptRate:     read(all, "--accept-rate", f.AcceptRate, rate),
			MaxHandshakes:  read(all, "--max-handshakes", f.MaxHandshakes, orZero),
			IdleTimeout:    infinityAsZero(read(all, "--idle-timeout", f.IdleTimeout, positive)),
			Lifetime:       infinityAsZero(read(all, "--lifetime", f.Lifetime, positive)),
			LifetimeJitter: 0.1,
		},
		Alarms: alarms(read(all, "--alarm-descriptors", f.AlarmShare, fraction)),
	}
}

// endpoints reads and names the values of --listen and checks that they differ.
func (f *flags) endpoints(all *faults) []endpoint {
	given := defaultListen
	if f.Listen != nil {
		given = nil
		for _, v := range f.Listen {
			if words := strings.Fields(v); len(words) > 0 {
				given = append(given, words...)
			} else {
				all.add("--listen %q: empty address, as in an empty RANCHD_LISTEN; %s", v, listenForms)
			}
		}
	}
	var endpoints []endpoint
	names, addrs := make(map[string]string), make(map[listenaddr.Addr]string)
	for _, v := range given {
		before := len(*all)
		e := read(all, "--listen", v, parseEndpoint)
		if len(*all) > before {
			continue
		}
		if first, used := names[e.Name]; used && e.Name != "" {
			all.add("--listen %q: name %s is used by %q; names must differ", v, e.Name, first)
		}
		// Several sockets of systemd can have the same name.
		if first, used := addrs[e.Addr]; used && !e.anyPort() && e.Addr.Network != "systemd" {
			all.add("--listen %q: the address is used by %q; addresses must differ", v, first)
		}
		for _, other := range endpoints {
			if other.Addr != e.Addr && e.overlaps(other) {
				all.add("--listen %q: %s includes its address; use another port", v, other)
			}
		}
		names[e.Name], addrs[e.Addr] = v, v
		e.Default = f.Listen == nil
		endpoints = append(endpoints, e)
	}
	nameEndpoints(endpoints)
	return endpoints
}
