package main

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"math"
	"slices"
	"time"

	"goranch/conns"
	"goranch/internal/settings"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/transport"
)

// topicsConnections is the default cap of topic servers, whose clients are mostly idle.
const topicsConnections = 20_000

// config is the checked configuration: that of the process, and that of each listener.
type config struct {
	Listeners []*listenerConfig
	Limits    []sharedLimits
	Networks  []networkRule
	Cluster   *clusterConfig // nil: there is none

	// process
	MaxConnections  int // --max-connections, for the banner
	DefaultCap      bool
	ShutdownTimeout time.Duration // or infinity
	Upgrade         upgradeConfig
	StateDir        string        // "" is memory only
	SessionTTL      time.Duration // of the console
	AccessLog       string        // a file; "-" is standard output, "" none
	LogLevel        slog.Level
	LogFormat       logFormat
	Console         bool
	Quiet           bool
	Check           bool
	Terminal        bool // standard output is a terminal; set by run

	// files
	OnReload      func(*certFiles, error) // called after certificate files have changed; set before their Run
	OnTokenReload func(error)             // called after a token file has changed; set before their Run
	OnBanReload   func(error)             // called after the ban file has changed; set before its Run
	files         openFiles

	// source
	File    string // of the configuration; "" is none
	process *scope
	command flags // the command line, to read the file again
	given   map[string]bool
}

// listenerConfig is the checked configuration of one listener.
type listenerConfig struct {
	endpoint
	ServiceName string
	Limits      string // name of shared limits; "" is none

	Options ranch.Options // except Addr, Logger and Observer
	TCP     transport.TCP // except Network
	TLSMin  uint16
	Store   *certFiles // nil for a self-signed certificate
	Proxies proxies

	// options of protocols; the zero value for others
	Access   shellAccess
	Shell    shellConfig
	Sessions sessionConfig
	Web      webConfig
	Topics   topicsConfig
	Packet   packetConfig
	Relay    relayConfig
	Routes   []routeConfig // of a relay

	HTTPHosts []string // that requests to an operators' HTTP server may name

	scope *scope
}

// newConfig reads and checks the command line and the configuration file that it names. The error
// joins all faults; each names the flag, or file, line and key, its value and what is allowed.
func newConfig(command flags, given map[string]bool) (*config, error) {
	all := newFaults()
	process := &scope{flags: command, places: map[string]place{}}
	settings.SetDefaults(&process.fileKeys, fileOnly)
	c := &config{File: command.Config, command: command, given: given, process: process}
	doc := c.readFile(all)
	listeners := c.listenerScopes(all, doc)
	endpoints := all.count()
	for _, s := range listeners {
		c.addListener(all, s)
	}
	c.addAdminHTTP(all)
	c.addAdmin(all)
	c.nameListeners()
	usesTLS := slices.ContainsFunc(c.Listeners, func(l *listenerConfig) bool { return l.TLS })
	c.readProcess(all, usesTLS || all.count() > endpoints) // a faulty address may be intended to use TLS
	for _, l := range c.Listeners {
		c.readListener(all.in(l.scope.places), l)
	}
	c.readTables(all, doc)
	c.checkServices(all)
	if err := all.err(); err != nil {
		return nil, err
	}
	return c, c.checkListeners()
}

// readProcess reads the settings of the process, and checks those of listeners that no listener may
// have.
func (c *config) readProcess(all *faults, usesTLS bool) {
	all, f := all.in(c.process.places), &c.process.flags
	c.Quiet, c.Check, c.Console = f.Quiet, f.Check, f.Console
	c.DefaultCap = f.MaxConnections == ""
	l := &listenerConfig{scope: c.process}
	l.readLimits(all)
	c.MaxConnections = l.Options.MaxConnections
	c.ShutdownTimeout = read(all, "--shutdown-timeout", f.ShutdownTimeout, notNegative)
	c.Upgrade = f.upgradeConfig(all)
	c.LogLevel = read(all, "--log-level", f.LogLevel, oneOf("debug, info, warn and error",
		map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}))
	c.LogFormat = read(all, "--log-format", f.LogFormat, oneOf("auto, text, color and json",
		map[string]logFormat{"auto": logAuto, "text": logText, "color": logColor, "json": logJSON}))
	if !slices.ContainsFunc(c.Listeners, func(l *listenerConfig) bool { return l.TLS }) {
		c.store(all, f, usesTLS)
	}
	if !slices.ContainsFunc(c.Listeners, func(l *listenerConfig) bool { return l.Service == shellService || l.Service.isOperators() }) {
		c.shellAccess(all, f)
	}
	c.StateDir = f.stateDir(all)
	c.bans(all)
	c.AccessLog = read(all, "--access-log", f.AccessLog, accessLogFile)
	f.adminHTTPHosts(all)
	f.shellConfig(all)
	c.SessionTTL = f.sessionConfig(all).TTL
	f.webConfig(all)
	f.topicsConfig(all)
	f.packetConfig(all)
	f.relayConfig(all)
}

// readListener reads the settings of a listener.
func (c *config) readListener(all *faults, l *listenerConfig) {
	f := &l.scope.flags
	l.readLimits(all)
	if !l.Service.hasLogin() {
		l.Options.LoginTimeout, l.Options.MaxUnestablished = 0, 0
	}
	if c.DefaultCap && l.Service == topicsService && f.MaxConnections == "" {
		l.Options.MaxConnections = topicsConnections
	}
	if l.Service.isOperators() && l.scope.table == nil {
		l.Options.NumListenSockets = 1 // operators need no more, and a Unix socket cannot have more
	}
	if l.TLS {
		l.Store = c.store(all, f, true)
	}
	switch l.Service {
	case adminHTTPService:
		l.Access, l.Proxies, l.HTTPHosts = c.shellAccess(all, f), proxies{}, f.adminHTTPHosts(all)
	case adminService:
		l.Access, l.Proxies, l.Sessions.TTL = c.shellAccess(all, f), proxies{}, f.sessionConfig(all).TTL
	case shellService:
		l.Access = c.shellAccess(all, f)
		l.Shell, l.Sessions = f.shellConfig(all), f.sessionConfig(all)
	case topicsService, webService:
		l.Sessions, l.Topics = f.sessionConfig(all), f.topicsConfig(all)
		if l.Service == webService {
			l.Web = f.webConfig(all)
		}
	case packetService:
		l.Packet = f.packetConfig(all)
	case relayService:
		l.Relay = f.relayConfig(all)
		l.readRoutes(all)
		l.checkRelay(all)
	}
	l.ServiceName, l.Limits = cmp.Or(f.Service, l.defaultService()), f.Limits
	if err := checkName(l.ServiceName); err != nil {
		all.add("--service: %w", err)
	}
	l.checkShellAccess(all)
	l.checkSessionIDs(all)
	l.checkSockets(all)
}

// readLimits reads the settings that every listener has.
func (l *listenerConfig) readLimits(all *faults) {
	f := &l.scope.flags
	l.TLSMin = read(all, "--tls-min", f.TLSMin, oneOf("1.2 and 1.3",
		map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}))
	l.Options = f.options(all)
	l.TCP = transport.TCP{
		Backlog:     read(all, "--backlog", f.Backlog, number(0, math.MaxInt32)),
		SendTimeout: orNoTimeout(read(all, "--send-timeout", f.SendTimeout, positive)),
		UnixMode:    read(all, "--unix-mode", f.UnixMode, fileMode),
		KeepAlive:   orNoTimeout(read(all, "--keep-alive", f.KeepAlive, positive)),
	}
	l.Proxies = read(all, "--proxy-from", f.ProxyFrom, parseProxies)
}

// options reads the settings that are options of package ranch.
func (f *flags) options(all *faults) ranch.Options {
	return ranch.Options{
		MaxConnections:   read(all, "--max-connections", cmp.Or(f.MaxConnections, "1024"), orUnlimited),
		NumAcceptors:     read(all, "--acceptors", f.Acceptors, orDefault(number(1, maxAcceptors))),
		NumListenSockets: read(all, "--listen-sockets", f.ListenSockets, number(1, maxAcceptors)),
		HandshakeTimeout: orNoTimeout(read(all, "--handshake-timeout", f.HandshakeTimeout, positive)),
		RefuseAfter:      read(all, "--refuse-after", f.RefuseAfter, refuseAfter),
		DrainDelay:       read(all, "--drain-delay", f.DrainDelay, pace),
		DrainSpread:      read(all, "--drain-spread", f.DrainSpread, pace),
		KeepClosed:       orNone(read(all, "--keep-closed", f.KeepClosed, number(0, math.MaxInt32))),
		Evict: read(all, "--evict", f.Evict, oneOf("none, oldest, most-idle and random", map[string]conns.EvictionPolicy{
			"none": conns.EvictNone, "oldest": conns.EvictOldest, "most-idle": conns.EvictMostIdle, "random": conns.EvictRandom})),
		Limits: conns.Limits{
			PerAddress:       read(all, "--max-per-address", f.MaxPerAddress, orZero),
			AddressRate:      read(all, "--address-rate", f.AddressRate, rate),
			AcceptRate:       read(all, "--accept-rate", f.AcceptRate, rate),
			MaxHandshakes:    read(all, "--max-handshakes", f.MaxHandshakes, orZero),
			LoginTimeout:     infinityAsZero(read(all, "--login-timeout", f.LoginTimeout, positive)),
			MaxUnestablished: read(all, "--max-unestablished", f.MaxUnestablished, orZero),
			ReceiveRate:      read(all, "--receive-rate", f.ReceiveRate, orZero),
			SendRate:         read(all, "--send-rate", f.SendRate, orZero),
			TotalReceiveRate: read(all, "--total-receive-rate", f.TotalReceiveRate, orZero),
			TotalSendRate:    read(all, "--total-send-rate", f.TotalSendRate, orZero),
			MinReceiveRate:   read(all, "--min-receive-rate", f.MinReceiveRate, number(0, math.MaxInt32)),
			IdleTimeout:      infinityAsZero(read(all, "--idle-timeout", f.IdleTimeout, positive)),
			ReadTimeout:      infinityAsZero(read(all, "--read-timeout", f.ReadTimeout, positive)),
			WriteTimeout:     infinityAsZero(read(all, "--write-timeout", f.WriteTimeout, positive)),
			Lifetime:         infinityAsZero(read(all, "--lifetime", f.Lifetime, positive)),
			LifetimeJitter:   0.1,
			ParkAfter:        orNoTimeout(read(all, "--park-after", f.ParkAfter, positive)),
		},
		Alarms: alarms(read(all, "--alarm-descriptors", f.AlarmShare, fraction)),
	}
}

// values returns the settings of the process by name, for the command config. None is a secret:
// tokens and keys are in files.
func (c *config) values() (all shell.Fields) {
	if c.File != "" {
		all = append(all, shell.Field{Key: "config", Value: c.File})
	}
	all = append(all, shell.Field{Key: "listen", Value: c.addresses()})
	for _, k := range flagKeys {
		value := k.Get(&c.process.flags)
		if _, ok := value.([]string); ok {
			value = k.Text(&c.process.flags)
		}
		all = append(all, shell.Field{Key: k.Name, Value: value})
	}
	return all
}

// faultsOf returns the faults that an error joins.
func faultsOf(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, faultsOf(e)...)
	}
	return all
}
