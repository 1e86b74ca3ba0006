package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/internal/descriptors"
	"goranch/internal/logging"
	"goranch/internal/nodes"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/ranch/upgrade"
)

// run runs the program and returns its exit code. The end of ctx has the effect of a first signal.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	c, code, done := parseOrFail(args, stdout, stderr)
	if done {
		return code
	}
	if c.Console && !(isTerminal(os.Stdin) && isTerminal(stdout)) {
		return printFaults(stderr, errNoTerminal)
	}
	c.Terminal = isTerminal(stdout)
	d := newDaemon(c)
	d.logWriter = &switchWriter{w: stderr}
	var stopLog func()
	d.log, stopLog = startLog(d.logWriter, c.LogFormat.resolve(stderr), &d.logLevel)
	defer stopLog()
	banner := logging.NewQueue(stdout, 0, nil) // nothing may wait for a reader of it either
	d.stdout = banner
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		banner.Close(ctx)
	}()
	if !c.Check {
		d.reserve, _ = descriptors.NewReserve(reservedDescriptors) // without one operators share the descriptors
	}
	d.logRemarks()
	if c.Check {
		c.printEndpoints(d.stdout)
		return exitOK
	}
	closeAccessLog, err := d.openAccessLog(stdout)
	if err != nil {
		d.log.Error("opening the access log failed", "err", err)
		failSuccessor("access log: " + err.Error())
		return exitFailed
	}
	defer closeAccessLog()
	return d.run(ctx, signals)
}

// daemon runs the listeners of a configuration, which a reload replaces.
type daemon struct {
	current atomic.Pointer[config]
	started time.Time

	// output
	log       *slog.Logger
	logLevel  slog.LevelVar
	logWriter *switchWriter
	stdout    io.Writer

	reserve  *descriptors.Reserve // for the operators' shell; nil: there is none
	server   ranch.Server
	networks *conns.Networks // rules of all listeners but those of operators
	certLog  certLog
	watch    watchers

	accessLog   *accesslog.Log               // nil: there is none
	dashboardAt atomic.Pointer[dashboardAt]  // nil if no dashboard is served over TCP
	reloaded    atomic.Pointer[reloadResult] // nil before the first reload
	upgrader    *upgrade.Upgrader            // set by run, as is notify
	notify      *notifier
	cluster     *cluster     // nil: there is none; set before the listeners start
	nodes       *nodes.Nodes // nil without a cluster; set before the listeners are started
	serving     atomic.Bool  // all listeners were started

	// changing is held while listeners are started, changed or removed. The following are written
	// only then; mu guards them for readers.
	changing   sync.Mutex
	stopping   context.Context // has ended when listeners are not to be started any more
	ended      bool            // no further changes
	removed    sync.WaitGroup  // drains of removed listeners
	mu         sync.Mutex
	running    []*running // in the order of the configuration
	draining   []*running // removed
	services   map[serviceKey]*runningService
	shared     map[string]*conns.Shared // limits by name; they stay when they are not configured any more
	selfSigned *tls.Certificate         // nil until it is needed
}

func newDaemon(c *config) *daemon {
	d := &daemon{
		started: time.Now(), services: map[serviceKey]*runningService{}, shared: map[string]*conns.Shared{}, networks: new(conns.Networks),
		stopping: context.Background(),
	}
	if b := c.files.bans; b != nil {
		d.networks = b.networks
	}
	d.use(c)
	return d
}

// use makes c the configuration in force.
func (d *daemon) use(c *config) {
	c.OnReload, c.OnTokenReload, c.OnBanReload = d.logReload, d.logTokenReload, d.logBanReload
	d.logLevel.Set(c.LogLevel)
	d.current.Store(c)
}

// run serves until a signal or the end of ctx stops it. After a second signal it returns although
// serve has not.
func (d *daemon) run(ctx context.Context, signals <-chan os.Signal) int {
	drain, startDrain := context.WithCancel(ctx)
	defer startDrain()
	abort, startAbort := context.WithCancel(context.WithoutCancel(ctx))
	defer startAbort()
	done := make(chan int, 1)
	d.notify = newNotifier(d.log)
	if err := d.newUpgrader(); err != nil {
		d.log.Error("taking over from the predecessor failed; it continues to serve", "err", err)
		return exitFailed
	}
	d.stopping = drain
	d.watch.update(d.config().files)
	defer d.watch.stop()
	go func() { done <- d.serve(drain, abort) }()
	var reloads sync.WaitGroup // a second signal does not wait for them
	for {
		select {
		case code := <-done:
			reloads.Wait()
			return code
		case sig := <-signals:
			switch {
			case requestsInfo(sig):
				d.logInfo()
			case requestsReload(sig) && d.canReload():
				reloads.Go(func() { d.reloadAtSignal() })
			case requestsUpgrade(sig):
				reloads.Go(func() { d.upgrade(drain, func(string) {}) }) // logs
			case drain.Err() == nil:
				d.log.Info("stopping; a second signal exits at once", "signal", sig.String(), "limit", formatTimeout(d.config().ShutdownTimeout))
				startDrain()
			default:
				d.log.Warn("second signal; exiting at once", "signal", sig.String())
				return signalExit(sig)
			}
		}
	}
}

// logRemarks logs settings that are valid but may not be intended.
func (d *daemon) logRemarks() {
	c := d.config()
	ids, plain := "", false
	for _, l := range c.Listeners {
		if l.Defaulted {
			d.log.Info("address without a host; listening on loopback only", "listener", l.Name, "addr", l.Addr.String())
		}
		if l.Shell.NewID != nil {
			ids = l.Name
		}
		plain = plain || l.Access.PlainTokens
	}
	d.logCertificates()
	if ids != "" {
		d.log.Warn("insecure: a client that knows the address of another can take over its session", "flag", "--session-ids djb", "listener", ids)
	}
	if plain {
		d.log.Warn("insecure unless the network is encrypted: tokens are sent in plaintext", "flag", "--plain-tokens")
	}
}
