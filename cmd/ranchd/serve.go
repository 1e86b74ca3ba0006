package main

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"goranch/ranch"
)

// serve starts the listeners, waits until drain ends, drains them, and returns the exit code. When
// abort ends, the remaining connections are closed.
func (d *daemon) serve(drain, abort context.Context) int {
	if err := d.start(drain); err != nil {
		d.dropPace()
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
	if !d.Console {
		<-drain.Done()
		return
	}
	done := make(chan error, 1)
	go func() { done <- d.runConsole(drain) }()
	select {
	case err := <-done:
		if err != nil && drain.Err() == nil {
			d.log.Error("console failed; the server continues", "err", err)
			<-drain.Done()
		}
		return
	case <-drain.Done():
	}
	select {
	case <-done: // the console restores the terminal
	case <-time.After(consoleTime): // its terminal is stopped, so that it cannot
	}
}

// consoleTime is how long a stop waits for the console.
const consoleTime = time.Second

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
	for i := 0; i < len(d.Endpoints); i++ {
		if drain.Err() != nil {
			return nil
		}
		e := &d.Endpoints[i]
		l, err := d.startListener(e)
		if err != nil && e.Default {
			l, err = d.startFallback(e, err)
		}
		if err != nil && e.Service.isOperators() && e.Default {
			d.log.Warn("no address for operators; they cannot connect", "listener", e.Name, "addr", e.Addr.String(), "err", err)
			d.Endpoints = slices.Delete(d.Endpoints, i, i+1)
			i--
			continue
		}
		if err != nil {
			d.log.Error("starting a listener failed", "listener", e.Name, "addr", e.Addr.String(), "err", err, hintAttr(*e, err))
			return err
		}
		d.listeners = append(d.listeners, l)
	}
	return nil
}

func (d *daemon) startListener(e *endpoint) (*ranch.Listener, error) {
	opts := d.options(*e)
	opts.Logger, opts.Observer = d.log, d.observer()
	p := d.services.protocols[e.Service]
	if pl, ok := p.(postListener); ok {
		opts.PostListen = pl.PostListen
	}
	if e.Service == adminHTTPService {
		return d.startAdminHTTP(e, opts, p)
	}
	if e.Service == adminService {
		return d.server.StartListener(e.Name, reserved(d.transport(*e, d.selfSigned), d.reserve), opts, p)
	}
	return d.server.StartListener(e.Name, d.transport(*e, d.selfSigned), opts, p)
}

// startFallback starts a listener at another address: the operator has not asked for the first one,
// which cannot be used.
func (d *daemon) startFallback(e *endpoint, cause error) (*ranch.Listener, error) {
	if !e.unix() && !errors.Is(cause, syscall.EADDRINUSE) {
		return nil, cause
	}
	wanted := e.Addr
	addr, err := e.fallback()
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	e.Addr = addr
	l, err := d.startListener(e)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	e.Instead = wanted.String()
	d.log.Warn("the default address cannot be used; listening on another", "listener", e.Name, "addr", wanted.String(), "other", l.Addr().String(), "err", cause)
	return l, nil
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
