package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol/pubsub"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// progress is how often a drain says how many connections are left.
const progress = time.Second

// run is the program: it returns the exit code. The end of ctx is taken as the first
// signal to stop.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	c, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	if c.Console && !(isTerminal(os.Stdin) && isTerminal(stdout)) {
		return complain(stderr, errNoTerminal)
	}
	d := &daemon{config: c, logTo: &divertable{to: stderr}, stdout: stdout, began: time.Now()}
	d.log = newLogger(d.logTo, c.LogFormat.on(stderr), c.LogLevel)
	c.Reloaded = d.reloaded
	d.remark()
	if c.Check {
		c.checked(stdout)
		return exitInOrder
	}
	return d.run(ctx, signals)
}

// daemon is the listeners of one run.
type daemon struct {
	*config
	log      *slog.Logger
	logTo    *divertable
	stdout   io.Writer
	server   ranch.Server
	services services
	topics   *pubsub.Server // nil: not served
	shell    *shell.Shell   // nil: not served
	began    time.Time
	inUse    inUse

	// The goroutine of serve owns the rest.
	certificate *tls.Certificate  // for trying out; nil if there are files, or no TLS
	listeners   []*ranch.Listener // as many of Endpoints as were started, in their order
}

// run serves until a signal, or the end of ctx, asks it to stop, and a second signal
// tells it to be gone: then it returns although serve has not.
func (d *daemon) run(ctx context.Context, signals <-chan os.Signal) int {
	stop, ask := context.WithCancel(ctx)
	defer ask()
	kill, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	done := make(chan int, 1)
	go func() { done <- d.serve(stop, kill) }()
	defer d.follow()()
	for {
		select {
		case code := <-done:
			return code
		case sig := <-signals:
			switch {
			case asksForInfo(sig):
				d.logInfo()
			case asksForReload(sig) && d.Store != nil:
				d.reload()
			case stop.Err() == nil:
				d.log.Info("stopping; a second signal ends at once", "signal", sig.String(), "limit", limitOf(d.Drain))
				ask()
			default:
				d.log.Warn("ended at once by a second signal", "signal", sig.String())
				return signalled(sig)
			}
		}
	}
}

// serve starts the listeners, waits for the end of stop, and drains them. The end of
// kill cuts connections off before their time.
func (d *daemon) serve(stop, kill context.Context) int {
	if err := d.start(stop); err != nil {
		d.drain(kill)
		d.finish()
		if len(d.listeners) > 0 {
			d.log.Info("the listeners that had been started are stopped", "count", len(d.listeners))
		}
		return exitFailed
	}
	if stop.Err() == nil { // else not all may have been started
		d.log.Info("serving", "listeners", len(d.listeners), "pid", os.Getpid(), "version", version())
		if !d.Quiet {
			d.banner(d.stdout)
		}
	}
	d.wait(stop)
	err := d.drain(kill)
	d.finish()
	return d.ended(err)
}

// wait returns when it is time to stop.
func (d *daemon) wait(stop context.Context) {
	if d.Console {
		if err := d.converse(stop); err != nil && stop.Err() == nil {
			d.log.Error("no console; the server goes on", "err", err)
		} else {
			return
		}
	}
	<-stop.Done()
}

// start starts the listeners one by one, and gives up at the first that fails.
func (d *daemon) start(stop context.Context) error {
	if err := d.prepareTLS(); err != nil {
		d.log.Error("no certificate could be made", "err", err)
		return err
	}
	if err := d.prepare(); err != nil {
		d.log.Error("a protocol could not be made", "err", err)
		return err
	}
	for _, e := range d.Endpoints {
		if stop.Err() != nil {
			return nil
		}
		opts := d.options(e)
		opts.Logger, opts.Observer = d.log, observeTLS(d.log)
		if p, ok := d.services.protocols[e.Service].(postListener); ok {
			opts.PostListen = p.PostListen
		}
		l, err := d.server.StartListener(e.Name, d.transport(e, d.certificate), opts, d.services.protocols[e.Service])
		if err != nil {
			d.log.Error("a listener could not be started", "listener", e.Name, "addr", e.Addr.String(), "err", err, "advice", advice(e, err))
			return err
		}
		d.listeners = append(d.listeners, l)
	}
	return nil
}

// prepareTLS makes a certificate if one is needed and none was given.
func (d *daemon) prepareTLS() error {
	if d.Store != nil || !anyTLS(d.Endpoints) {
		return nil
	}
	cert, err := selfSigned(time.Now())
	if err != nil {
		return err
	}
	d.certificate = &cert
	d.log.Warn("TLS has a self-signed certificate made in memory, for trying out only",
		"sha256", fingerprint(cert), "until", cert.Leaf.NotAfter.Format(time.DateOnly))
	return nil
}

// remark says what is allowed, but may not be what was meant.
func (d *daemon) remark() {
	for _, e := range d.Endpoints {
		if e.Defaulted {
			d.log.Info("no host was given, so only this machine can connect", "listener", e.Name, "addr", e.Addr.String())
		}
	}
	if d.Store != nil {
		d.logCertificates()
	}
	if d.Shell.NewID != nil {
		d.log.Warn("insecure: whoever knows the address of the shell's client can take over its session", "flag", "--session-ids djb")
	}
	if d.Access.PlainTokens {
		d.log.Warn("insecure unless the network is encrypted: tokens travel in clear", "flag", "--plain-tokens")
	}
}

// drain stops all listeners within the limit.
func (d *daemon) drain(kill context.Context) error {
	ctx, cancel := kill, context.CancelFunc(func() {})
	if d.Drain != infinity {
		ctx, cancel = context.WithTimeout(kill, d.Drain)
	}
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.server.Drain(ctx) }()
	tick := time.NewTicker(progress)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			d.log.Info("draining", "connections", d.left())
		}
	}
}

// left returns how many connections live.
func (d *daemon) left() (n int) {
	for _, l := range d.listeners {
		n += l.Info().AllConnections
	}
	return n
}

// ended says how the drain went, and returns the exit code for that.
func (d *daemon) ended(err error) int {
	var accepted, cut uint64
	for _, l := range d.listeners {
		info := l.Info()
		accepted += info.Accepted
		cut += info.Reasons[conns.Aborted]
	}
	log := d.log.With("accepted", accepted, "closed", cut)
	var stuck *conns.StuckError
	switch {
	case errors.As(err, &stuck):
		log.Error("ended, although protocols are still running", "err", err)
		return exitStuck
	case err != nil:
		log.Error("ended, but not all listeners could be stopped", "err", err)
		return exitFailed
	case cut > 0 && d.Drain > 0: // at 0 it is what was asked for
		log.Warn("ended; connections that went on past the limit were closed", "limit", limitOf(d.Drain))
		return exitCut
	}
	log.Info("ended in order")
	return exitInOrder
}

// logInfo writes what each listener is and has done.
func (d *daemon) logInfo() {
	for _, l := range d.listeners {
		info := l.Info()
		reasons := make([]any, 0, len(info.Reasons))
		for _, r := range slices.Sorted(maps.Keys(info.Reasons)) {
			reasons = append(reasons, slog.Uint64(r.Error(), info.Reasons[r]))
		}
		d.log.Info("info", "listener", info.Ref, "status", string(info.Status), "transport", info.Transport, "addr", info.Addr.String(),
			"max", limitText(info.MaxConnections), "active", info.ActiveConnections, "all", info.AllConnections, "peak", info.PeakConnections,
			"acceptors", info.NumAcceptors, "parked", info.WaitingAcceptors, "sockets", info.NumListenSockets,
			"accepted", info.Accepted, "terminated", info.Terminated, "served", info.Served,
			"handshake_failed", info.HandshakeFailed, "refused", info.Refused, "accept_errors", info.AcceptErrors,
			slog.Group("reasons", reasons...))
	}
}

// limitOf shows a limit as the flag takes it.
func limitOf(d time.Duration) string {
	if d == infinity {
		return "infinity"
	}
	return d.String()
}
