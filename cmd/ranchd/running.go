package main

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync/atomic"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// running is a started listener.
type running struct {
	l       *ranch.Listener
	config  *listenerConfig // in force, or waiting for a resume
	tls     liveTLS
	used    []*runningService // by its connections, the current one last
	gateway *gateway          // of browsers; nil for other protocols
	old     []*gateway        // whose connections may be live
}

// listening reports whether the listener has not been stopped, as by the command drain.
func (r *running) listening() bool { return r.l.Status() != ranch.Stopped }

func (r *running) service() *runningService { return r.used[len(r.used)-1] }

// use makes a service the current one.
func (r *running) use(s *runningService) {
	if len(r.used) == 0 || r.service() != s {
		r.used = append(r.used, s)
	}
}

// protocol returns the protocol of new connections.
func (r *running) protocol() protocol.Protocol {
	if r.gateway != nil {
		return r.gateway.protocol
	}
	return r.service().protocol
}

// close closes the gateways after the listener has stopped.
func (r *running) close(ctx context.Context) (errs error) {
	gateways := r.old
	if r.gateway != nil {
		gateways = append(gateways, r.gateway)
	}
	for _, g := range slices.Backward(gateways) {
		errs = errors.Join(errs, g.close(ctx))
	}
	r.gateway, r.old = nil, nil
	return errs
}

// liveTLS is a TLS configuration that a reload can replace: handshakes use the current one.
type liveTLS struct{ current atomic.Pointer[tls.Config] }

// config returns the configuration for the transport of the listener.
func (l *liveTLS) config() *tls.Config {
	return transport.OnHello(nil, func(context.Context, *tls.ClientHelloInfo) (*tls.Config, error) { return l.current.Load(), nil })
}

// all returns the started listeners in the order of the configuration.
func (d *daemon) all() []*running {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.running)
}

// config returns the configuration in force.
func (d *daemon) config() *config { return d.current.Load() }
