package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"goranch/transport"
)

// serve starts the listeners, waits until drain ends, drains them, and returns the exit code. When
// abort ends, the remaining connections are closed.
func (d *daemon) serve(drain, abort context.Context) int {
	err := d.start(drain)
	if err != nil {
		d.upgrader.Fail(err)
	} else if drain.Err() == nil { // otherwise some listeners may not have been started
		d.awaitCluster(drain)
		err = d.ready(drain)
	}
	if err != nil {
		d.dropPace()
		d.drain(abort)
		d.closeServices()
		if n := len(d.all()); n > 0 {
			d.log.Info("started listeners were stopped", "count", n)
		}
		return exitFailed
	}
	d.serving.Store(true)
	if drain.Err() == nil {
		d.log.Info("serving", "listeners", len(d.all()), "pid", os.Getpid(), "version", version(), "predecessor", d.upgrader.Predecessor())
		if !d.config().Quiet && d.upgrader.Predecessor() == 0 {
			d.printBanner(d.stdout)
		}
	}
	alive, endSigns := context.WithCancel(drain)
	defer endSigns()
	go d.notify.watch(alive, d.server.CheckAcceptors)
	replaced := d.wait(drain)
	endSigns()
	d.upgrader.Stop()
	if replaced {
		d.closeNodes() // the successor has the same name
		err = d.drainReplaced(drain, abort)
	} else {
		err = d.drain(abort)
	}
	d.awaitPredecessor(replaced)
	d.closeServices()
	return d.logExit(err)
}

// endChanges waits for a reload that has begun. Later ones are refused.
func (d *daemon) endChanges() {
	d.changing.Lock()
	defer d.changing.Unlock()
	d.ended = true
}

// wait returns when the listeners are to be drained. It reports whether a successor has replaced
// this process.
func (d *daemon) wait(drain context.Context) (replaced bool) {
	if !d.config().Console {
		select {
		case <-drain.Done():
			return false
		case <-d.upgrader.HandedOver():
			return true
		}
	}
	done := make(chan error, 1)
	go func() { done <- d.runConsole(drain) }()
	select {
	case err := <-done:
		if err != nil && drain.Err() == nil {
			d.log.Error("console failed; the server continues", "err", err)
			<-drain.Done()
		}
		return false
	case <-drain.Done():
	}
	select {
	case <-done: // the console restores the terminal
	case <-time.After(consoleTime): // its terminal is stopped, so that it cannot
	}
	return false
}

// consoleTime is how long a stop waits for the console.
const consoleTime = time.Second

// postListener is a protocol that needs the address of its listener.
type postListener interface {
	PostListen(net.Listener) error
}

// start starts the listeners in order and returns the first error, which it has logged.
func (d *daemon) start(drain context.Context) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	c := d.config()
	d.useNetworks(c)
	if err := d.useShared(c, true); err != nil {
		d.log.Error("shared limits cannot be used", "err", err)
		return err
	}
	if err := d.startCluster(c); err != nil {
		d.log.Error("starting the cluster node failed", "node", c.Cluster.Engine.Name, "err", err)
		return err
	}
	for _, l := range c.Listeners {
		if drain.Err() != nil {
			return nil
		}
		r, err := d.prepare(c, l)
		if err != nil {
			d.log.Error("creating a protocol failed", "listener", l.Name, "err", err)
			return err
		}
		err = d.startListener(c, r, nil)
		if err != nil && l.Service.isOperators() && l.Default {
			d.logWithout(r, err)
			continue
		}
		if err != nil {
			d.log.Error("starting a listener failed", "listener", l.Name, "addr", l.Addr.String(), "err", err, hintAttr(l.endpoint, err))
			return err
		}
		d.mu.Lock()
		d.running = append(d.running, r)
		d.mu.Unlock()
	}
	d.findDashboard()
	return nil
}

// logWithout logs that a default address for operators cannot be used.
func (d *daemon) logWithout(r *running, err error) {
	d.log.Warn("no address for operators; they cannot connect", "listener", r.config.Name, "addr", r.config.Addr.String(), "err", err)
}

// prepare creates what a listener needs besides its socket: certificate, service and gateway.
// d.changing is held.
func (d *daemon) prepare(c *config, l *listenerConfig) (*running, error) {
	r := &running{config: l}
	s, err := d.service(c, l)
	if err != nil {
		return nil, err
	}
	r.use(s)
	if l.Service == webService {
		if r.gateway, err = d.newGateway(s, l); err != nil {
			return nil, err
		}
	}
	if l.TLS {
		if err := d.createCertificate(l); err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
		r.tls.current.Store(l.tlsConfig(d.selfSigned))
	}
	return r, nil
}

// service returns the service of a listener, and creates it unless it exists.
func (d *daemon) service(c *config, l *listenerConfig) (*runningService, error) {
	if s := d.services[l.service()]; s != nil {
		return s, nil
	}
	s, err := d.newService(c, l)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services[s.key] = s
	return s, nil
}

// startListener starts a listener, at another address if its own is in use and it may have another.
// postListen is called with each socket before it accepts; nil is none.
func (d *daemon) startListener(c *config, r *running, postListen func(net.Listener) error) error {
	d.inheritAddress(r)
	err := d.listen(c, r, postListen)
	if err != nil && r.config.Default {
		err = d.listenElsewhere(c, r, postListen, err)
	}
	return err
}

func (d *daemon) listen(c *config, r *running, postListen func(net.Listener) error) (err error) {
	l, opts, p := r.config, c.options(r.config), r.protocol()
	opts.Logger, opts.Observer = d.log, d.observer()
	opts.Shared = d.shared[l.Limits]
	if !l.Service.isOperators() { // no ban locks operators out
		opts.Networks = d.networks
	}
	opts.PostListen = postListen
	if pl, ok := p.(postListener); ok {
		opts.PostListen = func(ln net.Listener) error {
			if err := pl.PostListen(ln); err != nil || postListen == nil {
				return err
			}
			return postListen(ln)
		}
	}
	r.l, err = d.server.StartListener(l.Name, d.transport(r), opts, p)
	return err
}

// transport returns the transport of a listener.
func (d *daemon) transport(r *running) transport.Transport {
	t := r.config.transport(r.tls.config())
	if r.config.Service.isOperators() {
		t = reserved(t, d.reserve)
	}
	return d.upgradable(r.config.Name, t)
}

// listenElsewhere starts a listener at another address: its own cannot be used, and the operator
// has not asked for it, or has allowed another.
func (d *daemon) listenElsewhere(c *config, r *running, postListen func(net.Listener) error, cause error) error {
	l := r.config
	if !l.unix() && !errors.Is(cause, syscall.EADDRINUSE) {
		return cause
	}
	addr, err := l.fallback()
	if err != nil {
		return errors.Join(cause, err)
	}
	moved := *l
	moved.Addr, moved.Wanted, moved.Instead = addr, l.Addr, l.Addr.String()
	r.config = &moved
	if err := d.listen(c, r, postListen); err != nil {
		r.config = l
		return errors.Join(cause, err)
	}
	d.log.Warn("the default address cannot be used; listening on another", "listener", l.Name, "addr", l.Addr.String(), "other", r.l.Addr().String(), "err", cause)
	return nil
}

// createCertificate creates a self-signed certificate if the listener has no certificate files.
func (d *daemon) createCertificate(l *listenerConfig) error {
	if l.Store != nil || d.selfSigned != nil {
		return nil
	}
	cert, err := newSelfSigned(time.Now())
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.selfSigned = &cert
	d.mu.Unlock()
	d.log.Warn("using a self-signed certificate, for testing only",
		"sha256", fingerprint(cert), "until", cert.Leaf.NotAfter.Format(time.DateOnly))
	return nil
}
