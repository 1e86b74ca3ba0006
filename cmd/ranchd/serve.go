package main

import (
	"context"
	"net"
	"os"
	"time"
)

// serve starts the listeners, waits until drain ends, drains them, and returns the exit code. When
// abort ends, the remaining connections are closed.
func (d *daemon) serve(drain, abort context.Context) int {
	if err := d.start(drain); err != nil {
		d.drain(abort)
		d.closeServices()
		if len(d.listeners) > 0 {
			d.log.Info("started listeners were stopped", "count", len(d.listeners))
		}
		return exitFailed
	}
	if drain.Err() == nil { // otherwise some listeners may not have been started
		d.log.Info("serving", "listeners", len(d.listeners), "pid", os.Getpid(), "version", version())
		if !d.Quiet {
			d.printBanner(d.stdout)
		}
	}
	d.wait(drain)
	err := d.drain(abort)
	d.closeServices()
	return d.logExit(err)
}

// wait returns when the listeners are to be drained.
func (d *daemon) wait(drain context.Context) {
	if d.Console {
		if err := d.runConsole(drain); err != nil && drain.Err() == nil {
			d.log.Error("console failed; the server continues", "err", err)
		} else {
			return
		}
	}
	<-drain.Done()
}

// postListener is a protocol that needs the address of its listener.
type postListener interface {
	PostListen(net.Listener) error
}

// start starts the listeners in order and returns the first error, which it has logged.
func (d *daemon) start(drain context.Context) error {
	if err := d.createCertificate(); err != nil {
		d.log.Error("creating the self-signed certificate failed", "err", err)
		return err
	}
	if err := d.createServices(); err != nil {
		d.log.Error("creating a protocol failed", "err", err)
		return err
	}
	for _, e := range d.Endpoints {
		if drain.Err() != nil {
			return nil
		}
		opts := d.options(e)
		opts.Logger, opts.Observer = d.log, observeTLS(d.log)
		p := d.services.protocols[e.Service]
		if pl, ok := p.(postListener); ok {
			opts.PostListen = pl.PostListen
		}
		l, err := d.server.StartListener(e.Name, d.transport(e, d.selfSigned), opts, p)
		if err != nil {
			d.log.Error("starting a listener failed", "listener", e.Name, "addr", e.Addr.String(), "err", err, "hint", hint(e, err))
			return err
		}
		d.listeners = append(d.listeners, l)
	}
	return nil
}

// createCertificate creates a self-signed certificate if TLS is used without certificate files.
func (d *daemon) createCertificate() error {
	if d.Store != nil || !anyTLS(d.Endpoints) {
		return nil
	}
	cert, err := newSelfSigned(time.Now())
	if err != nil {
		return err
	}
	d.selfSigned = &cert
	d.log.Warn("using a self-signed certificate, for testing only",
		"sha256", fingerprint(cert), "until", cert.Leaf.NotAfter.Format(time.DateOnly))
	return nil
}
