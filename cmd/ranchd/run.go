package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"goranch/internal/descriptors"
	"goranch/internal/logging"
	"goranch/protocol/pubsub"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/ranch/admin/adminhttp"
)

// run runs the program and returns its exit code. The end of ctx has the effect of a first signal.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	c, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	if c.Console && !(isTerminal(os.Stdin) && isTerminal(stdout)) {
		return printFaults(stderr, errNoTerminal)
	}
	c.Terminal = isTerminal(stdout)
	d := &daemon{config: c, logWriter: &switchWriter{w: stderr}, started: time.Now()}
	var stopLog func()
	d.log, stopLog = startLog(d.logWriter, c.LogFormat.resolve(stderr), c.LogLevel)
	defer stopLog()
	banner := logging.NewQueue(stdout, 0, nil) // nothing may wait for a reader of it either
	d.stdout = banner
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		banner.Close(ctx)
	}()
	c.OnReload, c.OnTokenReload, c.Bans.OnReload = d.logReload, d.logTokenReload, d.logBanReload
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
		return exitFailed
	}
	defer closeAccessLog()
	return d.run(ctx, signals)
}

// daemon runs the listeners of one configuration.
type daemon struct {
	*config
	started time.Time

	// output
	log       *slog.Logger
	logWriter *switchWriter
	stdout    io.Writer

	// services
	reserve  *descriptors.Reserve // for the operators' shell; nil: there is none
	server   ranch.Server
	services services
	topics   *pubsub.Server // nil if not served
	shell    *shell.Shell   // nil if not served
	certLog  certLog

	accessLog   *accesslog.Log     // nil: there is none
	adminHTTP   *adminhttp.Handler // nil if not served
	dashboardAt atomic.Pointer[dashboardAddr]

	// owned by the goroutine of serve
	selfSigned *tls.Certificate  // nil if certificate files are given or TLS is not used
	listeners  []*ranch.Listener // those started, in the order of Endpoints
}

// run serves until a signal or the end of ctx stops it. After a second signal it returns although
// serve has not.
func (d *daemon) run(ctx context.Context, signals <-chan os.Signal) int {
	drain, startDrain := context.WithCancel(ctx)
	defer startDrain()
	abort, startAbort := context.WithCancel(context.WithoutCancel(ctx))
	defer startAbort()
	done := make(chan int, 1)
	go func() { done <- d.serve(drain, abort) }()
	defer d.watchFiles()()
	for {
		select {
		case code := <-done:
			return code
		case sig := <-signals:
			switch {
			case requestsInfo(sig):
				d.logInfo()
			case requestsReload(sig) && d.canReload():
				d.reload()
			case drain.Err() == nil:
				d.log.Info("stopping; a second signal exits at once", "signal", sig.String(), "limit", formatTimeout(d.ShutdownTimeout))
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
	for _, e := range d.Endpoints {
		if e.Defaulted {
			d.log.Info("address without a host; listening on loopback only", "listener", e.Name, "addr", e.Addr.String())
		}
	}
	if d.Store != nil {
		d.logCertificates()
	}
	if d.Shell.NewID != nil {
		d.log.Warn("insecure: a client that knows the address of another can take over its session", "flag", "--session-ids djb")
	}
	if d.Access.PlainTokens {
		d.log.Warn("insecure unless the network is encrypted: tokens are sent in plaintext", "flag", "--plain-tokens")
	}
}
